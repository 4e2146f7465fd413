"""The public interface of providers: what an adapter gets, returns and declares."""
