"""The names of arms, and the cells of a grid."""
