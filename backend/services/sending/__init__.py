"""A send is checked, rendered, written and rung for."""
