"""Parts of the documentation site that are made from the code and from result files when the site is built."""
