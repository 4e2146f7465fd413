"""Step 5: a send is checked, rendered, written and rung for."""
