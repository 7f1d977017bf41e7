"""Which stored form may stand for an estimator: none is believed, each is asked what the estimator was asked.

`convert` goes through the forms, from the fastest to the most faithful, and keeps the first that answers alike.
"""
