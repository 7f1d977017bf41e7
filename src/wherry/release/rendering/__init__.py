"""A release in other projects' forms: a Helm chart, a Kustomize base, objects of KServe and Seldon. Pure."""
