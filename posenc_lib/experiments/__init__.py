"""One module per page, with the page's name: its configuration, what is trained and measured, the list of runs."""
