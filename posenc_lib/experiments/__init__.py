"""One module a page, named as the page: its configuration, what is trained and measured, the list of runs."""
