"""From a trained object to a bundle, and back. Knows no HTTP and no cluster; each library has one file, in flavors.

On the way out, in the order a model travels: `reading` says what a file is and lets it through one gate, `tables` reads
the sample, `flavors.sklearn` describes the estimator, `proving` finds the form that answers like it, `pack` is the
recipe, `bundle` the folder. On the way back: `loaded`, by `bundle`, `requirements`, `flavors` and `golden`.
"""
