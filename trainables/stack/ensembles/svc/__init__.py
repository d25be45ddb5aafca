"""Stacking by a support vector classifier (scikit-learn's), as in document 001_cc5423a036889870."""
