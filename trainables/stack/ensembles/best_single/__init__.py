"""The single detector that is best on the rows that other ensembles are fitted on: the baseline without an ensemble."""
