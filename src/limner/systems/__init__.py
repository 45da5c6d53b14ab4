"""Systems of the lineage, and `drawing`, which loads one by name and makes pictures with it."""
