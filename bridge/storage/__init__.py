"""The database by URL, its worker thread and its errors."""
