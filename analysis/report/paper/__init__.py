"""The main tables of a report as a paper prints them: their sentences, their layout, and their text renderings."""
