"""Image sets: what one is, those that come with the book, those read from files, boxes of people, drawn streets."""
