"""Stacking by a random forest (Breiman 2001; scikit-learn's), as in document 001_cc5423a036889870."""
