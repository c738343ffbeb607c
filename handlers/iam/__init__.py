"""IAM policy documents as data: read, compared, merged, put into words and evaluated. Nothing here asks AWS."""
