"""Tasks of users: a function that trains, and reports one record for each epoch."""
