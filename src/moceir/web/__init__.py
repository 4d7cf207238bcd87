"""``moceir serve``: a page and an HTTP API around one queue of pictures, and the client of that API."""
