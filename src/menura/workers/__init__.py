"""Independent jobs become results: in this process, or in worker processes of joblib, Ray or dask."""
