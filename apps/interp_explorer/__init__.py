"""The explorer: a folder of results in the browser, read without torch or a model."""
