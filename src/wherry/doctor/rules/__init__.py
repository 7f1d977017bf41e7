"""Every rule, each declared once beside its check; `wherry doctor`, --json and docs/reference/rules.md read it here."""

from wherry.doctor.rule import Rule
from wherry.doctor.rules import (
    cloud,
    cluster,
    compose,
    database,
    features,
    image,
    loading,
    service,
    shell,
    training,
    uploads,
    workload,
)

# In the order in which they are shown.
MODULES = (loading, service, features, uploads, database, image, compose, cluster, workload, shell, cloud, training)
ALL: tuple[Rule, ...] = tuple(value for module in MODULES for value in vars(module).values() if isinstance(value, Rule))
