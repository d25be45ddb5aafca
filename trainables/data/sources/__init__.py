"""Sources of images: the published data sets, folders, and data sets of users."""
