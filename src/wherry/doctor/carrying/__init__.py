"""What an existing project already decided, as settings of wherry.toml; what cannot be carried over is said.

`shapes` reads requests and replies off a service's source, `objects` the rest off manifests, compose files and
commands, `bodywork` a bodywork.yaml; `carry` joins them, `toml` writes them down.
"""
