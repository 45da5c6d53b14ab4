"""The studio: draw, edit and compare in a browser, on the same application as the server."""
