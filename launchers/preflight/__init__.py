"""A node against what its cluster promises: read, judge, compare, say what to do.

``llmtrain doctor`` uses these modules on the machine it runs on. A job gets them as files of the
run's folder and runs them there as ``python -m preflight``: nodes have no llmtrain, so what is here
needs the standard library of Python 3.8 alone, and imports its neighbours by relative names.
"""
