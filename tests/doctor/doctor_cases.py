# long because every rule has its bad project and its good twin, side by side
"""For each rule the smallest project that breaks it, and its twin that does not."""

from __future__ import annotations

FLASK = "from flask import Flask, jsonify, request\napp = Flask(__name__)\n"
FASTAPI = "from fastapi import FastAPI\napp = FastAPI()\n"
ROUTE = "@app.route('/predict', methods=['POST'])\ndef predict():\n"
UPLOAD = "import io\nfrom PIL import Image\n" + FLASK
OPEN = "    image = Image.open(io.BytesIO(request.files['image'].read()))\n"


def deployment(container: str = "", pod: str = "", image: str = "registry.example/app:1", replicas: int = 2) -> str:
    """A Deployment; `container` and `pod` are further lines of the container and of the pod."""
    inner = "".join(f"          {line}\n" for line in container.splitlines())
    outer = "".join(f"      {line}\n" for line in pod.splitlines())
    return (
        f"apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: app\nspec:\n  replicas: {replicas}\n  template:\n"
        f"    metadata:\n      labels: {{app: app}}\n    spec:\n      containers:\n        - name: app\n"
        f"          image: {image}\n{inner}{outer}"
    )


def service(more: str) -> str:
    return f"apiVersion: v1\nkind: Service\nmetadata:\n  name: app\nspec:\n{more}"


def compose(of_service: str, name: str = "app") -> str:
    lines = "".join(f"    {line}\n" for line in of_service.splitlines())
    return f"services:\n  {name}:\n{lines}"


def sh(*lines: str) -> dict[str, str]:
    return {"do.sh": "".join(f"{line}\n" for line in lines)}


def hpa(target: str) -> str:
    return (
        "apiVersion: autoscaling/v1\nkind: HorizontalPodAutoscaler\nmetadata: {name: app}\nspec:\n"
        f"  scaleTargetRef: {{kind: Deployment, name: app}}\n  targetCPUUtilizationPercentage: {target}\n"
    )


def mysql_claim(mount: str) -> str:
    return deployment(f"volumeMounts:\n  - {{name: data, {mount}}}", image="mysql:8.4")


PROBED = "ports:\n  - containerPort: 80\nreadinessProbe: {httpGet: {path: /, port: 80}}\n"
STOPPING = PROBED + "lifecycle: {preStop: {exec: {command: [sleep, '5']}}}\n"
CHECKED = (
    "    content = request.json\n    if 'data' not in content:\n"
    "        return '', 400\n    return {'x': content['data']}\n"
)
BUDGET = (
    "apiVersion: policy/v1\nkind: PodDisruptionBudget\nspec:\n  minAvailable: 1\n"
    "  selector: {matchLabels: {app: app}}\n---\n"
)
CREATE = "gcloud container clusters create c --zone europe-west1-b"

# By rule: what breaks it, and what does not.
CASES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "duplicate-openmp": (
        {"a.py": "import torch\nimport os\nos.environ['KMP_DUPLICATE_LIB_OK'] = 'True'\n"},
        {"a.py": "import torch\nimport os\nos.environ['OMP_NUM_THREADS'] = '1'\n"},
    ),
    "unchecked-load": (
        {"a.py": "import pickle\nmodel = pickle.load(open('m', 'rb'))\n"},
        {"a.py": "import hashlib, pickle\nassert hashlib.sha256(content).hexdigest() == D\npickle.loads(content)\n"},
    ),
    "model-in-tmp": (
        {"k.yaml": deployment(pod="volumes:\n  - name: m\n    hostPath: {path: /var/tmp/model}")},
        {"k.yaml": deployment(pod="volumes:\n  - name: m\n    persistentVolumeClaim: {claimName: model}")},
    ),
    "loaded-for-each-request": (
        {
            "a.py": FLASK
            + "import joblib\ndef load():\n    return joblib.load('m')\n"
            + ROUTE
            + "    return load().predict([[1]])\n"
        },
        {"a.py": FLASK + "import joblib\nmodel = joblib.load('m')\n" + ROUTE + "    return model.predict([[1]])\n"},
    ),
    "download-at-request": (
        {"a.py": FLASK + ROUTE + "    model = ResNet50(weights='imagenet')\n    return {}\n"},
        {"a.py": FLASK + "model = ResNet50(weights='weights/resnet.h5')\n" + ROUTE + "    return {}\n"},
    ),
    "old-pickle": (
        {"requirements.txt": "scikit-learn==0.22.1\n"},
        {"requirements.txt": "scikit-learn==1.5.2\n"},
    ),
    "debug-server": (
        {"a.py": FLASK + "app.run(debug=True, host='0.0.0.0')\n"},
        {"a.py": FLASK + "app.run(debug=True, host='127.0.0.1')\n"},
    ),
    "features-in-url": (
        {"a.py": FASTAPI + "@app.get('/predict')\ndef predict(a: int):\n    return model.predict([[a]])\n"},
        {"a.py": FASTAPI + "@app.post('/predict')\ndef predict(a: int):\n    return model.predict([[a]])\n"},
    ),
    "unlimited-upload": (
        {"a.py": UPLOAD + ROUTE + OPEN + "    return {}\n"},
        {
            "a.py": UPLOAD
            + "app.config['MAX_CONTENT_LENGTH'] = 2**20\nImage.MAX_IMAGE_PIXELS = 10**7\n"
            + ROUTE
            + OPEN
            + "    return {}\n"
        },
    ),
    "upload-not-checked": (
        {"a.py": UPLOAD + ROUTE + OPEN + "    return {}\n"},
        {
            "a.py": UPLOAD
            + ROUTE
            + "    try:\n    "
            + OPEN
            + "    except OSError:\n        return 'no picture', 400\n    return {}\n"
        },
    ),
    "failure-as-success": (
        {"a.py": FLASK + ROUTE + "    data = {'success': False}\n    return jsonify(data)\n"},
        {"a.py": FLASK + ROUTE + "    data = {'success': False}\n    return jsonify(data), 400\n"},
    ),
    "error-as-success": (
        {
            "a.py": FLASK
            + ROUTE
            + "    try:\n        go()\n    except ValueError:\n        return jsonify(status='error', predict=-1)\n"
        },
        {
            "a.py": FLASK
            + ROUTE
            + "    try:\n        go()\n    except ValueError:\n        return jsonify(status='error'), 400\n"
        },
    ),
    "body-read-unguarded": (
        {"a.py": FLASK + ROUTE + "    content = request.json\n    return {}\n"},
        {"a.py": FLASK + ROUTE + "    content = request.get_json(silent=True)\n    return {}\n"},
    ),
    "payload-not-checked": (
        {"a.py": FLASK + ROUTE + "    content = request.json\n    return {'x': content['data']}\n"},
        {"a.py": FLASK + ROUTE + CHECKED},
    ),
    "client-decides-recording": (
        {
            "a.py": FLASK
            + ROUTE
            + "    content = request.json\n    if content.get('store', True):\n        keep()\n    return {}\n"
        },
        {
            "a.py": FLASK
            + ROUTE
            + "    content = request.json\n    if content.get('verbose', True):\n        say()\n    return {}\n"
        },
    ),
    "json-in-json": (
        {
            "a.py": "import json\n"
            + FLASK
            + ROUTE
            + "    content = request.json\n    rows = json.loads(content['data'])\n    return {}\n"
        },
        {
            "a.py": "import json\n"
            + FLASK
            + ROUTE
            + "    content = request.json\n    rows = content['data']\n    return {'p': rows}\n"
        },
    ),
    "silent-default": (
        {"a.py": FASTAPI + "@app.post('/predict')\ndef predict(a: int = 0):\n    return model.predict([[a]])\n"},
        {"a.py": FASTAPI + "@app.post('/predict')\ndef predict(a: int):\n    return model.predict([[a]])\n"},
    ),
    "rounded-share": (
        {"a.py": "share = round(score) * 100\n"},
        {"a.py": "share = round(score * 100)\n"},
    ),
    "range-refuses-own-data": (
        {"a.py": "class Row(BaseModel):\n    concavity: float = Field(gt=0)\n", "d.csv": "concavity\n0.5\n0.0\n"},
        {"a.py": "class Row(BaseModel):\n    concavity: float = Field(ge=0)\n", "d.csv": "concavity\n0.5\n0.0\n"},
    ),
    "tables-at-import": (
        {"a.py": "db.execute('CREATE TABLE IF NOT EXISTS t (id INT)')\n"},
        {"a.py": "def migrate():\n    db.execute('CREATE TABLE IF NOT EXISTS t (id INT)')\n"},
    ),
    "database-root": (
        {"compose.yaml": compose("image: app:1\nenvironment:\n  MYSQL_USER: root")},
        {"compose.yaml": compose("image: app:1\nenvironment:\n  MYSQL_USER: beans")},
    ),
    "password-in-clear": (
        {"compose.yaml": compose("image: mysql:8.4\nenvironment:\n  MYSQL_ROOT_PASSWORD: secret")},
        {"compose.yaml": compose("image: mysql:8.4\nenvironment:\n  MYSQL_ROOT_PASSWORD: ${ROOT_PASSWORD}")},
    ),
    "password-in-url": (
        {"a.py": "engine = create_engine('postgresql://app:secret@db/app')\n"},
        {"a.py": "engine = create_engine(os.environ['DATABASE_URL'])\nother = 'postgresql://db/app'\n"},
    ),
    "database-port-published": (
        {"compose.yaml": compose("image: mysql:8.4\nports:\n  - 3306:3306")},
        {"compose.yaml": compose("image: mysql:8.4\nports:\n  - 127.0.0.1:3306:3306")},
    ),
    "driver-not-required": (
        {"a.py": "create_engine('mysql://db/app')\n", "requirements.txt": "sqlalchemy\n"},
        {"a.py": "create_engine('mysql://db/app')\n", "requirements.txt": "sqlalchemy\nmysqlclient==2.2.4\n"},
    ),
    "volume-misses-data": (
        {"compose.yaml": compose("image: mysql:8.4\nvolumes:\n  - data:/var/lib/sql")},
        {"compose.yaml": compose("image: mysql:8.4\nvolumes:\n  - data:/var/lib/mysql")},
    ),
    "lost-and-found": (
        {"k.yaml": mysql_claim("mountPath: /var/lib/mysql")},
        {"k.yaml": mysql_claim("mountPath: /var/lib/mysql, subPath: data")},
    ),
    "everything-copied": (
        {"Dockerfile": "FROM python:3.12-slim\nCOPY . .\n"},
        {"Dockerfile": "FROM python:3.12-slim\nCOPY . .\n", ".dockerignore": ".git\n"},
    ),
    "end-of-life": (
        {"Dockerfile": "FROM python:3.6-slim\n"},
        {"Dockerfile": "FROM python:3.12-slim\n"},
    ),
    "debian-gone": (
        {"Dockerfile": "FROM python:3.12-slim-buster\n"},
        {"Dockerfile": "FROM python:3.12-slim-bookworm\n"},
    ),
    "development-server": (
        {"Dockerfile": 'FROM python:3.12-slim\nCMD ["python3", "-m", "flask", "run", "--host=0.0.0.0"]\n'},
        {"Dockerfile": 'FROM python:3.12-slim\nCMD ["gunicorn", "app:app"]\n'},
    ),
    "pipenv-relocks": (
        {"Dockerfile": "FROM python:3.12-slim\nRUN pipenv install\n"},
        {"Dockerfile": "FROM python:3.12-slim\nRUN pipenv install --system --deploy\n"},
    ),
    "slim-called-alpine": (
        {"README.md": "We use `python:3.12-slim`, an Alpine Linux.\n"},
        {"README.md": "We use `python:3.12-slim`, a Debian. Alpine is smaller.\n"},
    ),
    "pip-upgraded": (
        {"Dockerfile": "FROM python:3.12-slim\nRUN python -m pip install --upgrade pip\n"},
        {"Dockerfile": "FROM python:3.12-slim\nRUN python -m pip install --upgrade pip==25.0\n"},
    ),
    "workers-with-copies": (
        {
            "a.py": FLASK + ROUTE + "    return {}\n",
            "Dockerfile": 'FROM python:3.12-slim\nCMD ["gunicorn", "-w", "5", "a:app"]\n',
        },
        {
            "a.py": FLASK + ROUTE + "    return {}\n",
            "Dockerfile": 'FROM python:3.12-slim\nCMD ["gunicorn", "-w", "2", "a:app"]\n',
        },
    ),
    "shell-form": (
        {"Dockerfile": "FROM python:3.12-slim\nCMD gunicorn app:app\n"},
        {"Dockerfile": 'FROM python:3.12-slim\nCMD ["gunicorn", "app:app"]\n'},
    ),
    "latest-tag": (
        {"k.yaml": deployment(image="registry.example/app:latest")},
        {"k.yaml": deployment(image="registry.example/app:1.0")},
    ),
    "ports-differ": (
        {"a.py": FASTAPI + "uvicorn.run(app, port=80)\n", "Dockerfile": "FROM python:3.12-slim\nEXPOSE 5000\n"},
        {"a.py": FASTAPI + "uvicorn.run(app, port=5000)\n", "Dockerfile": "FROM python:3.12-slim\nEXPOSE 5000\n"},
    ),
    "image-never-pushed": (
        sh("docker build . -t app") | {"k.yaml": deployment(image="localhost:5000/app:1")},
        sh("docker build . -t localhost:5000/app", "docker push localhost:5000/app")
        | {"k.yaml": deployment(image="localhost:5000/app:1")},
    ),
    "container-registry-gone": (
        sh("docker push gcr.io/project/app:1"),
        sh("docker push europe-docker.pkg.dev/project/repository/app:1", "docker pull gcr.io/distroless/python3"),
    ),
    "environment-not-read": (
        {
            "a.py": FLASK + ROUTE + "    return os.environ['MODEL_BASE_PATH']\n",
            "k.yaml": "apiVersion: v1\nkind: ConfigMap\ndata:\n  MODEL_PATH: /m\n",
        },
        {
            "a.py": FLASK + ROUTE + "    return os.environ['MODEL_PATH']\n",
            "k.yaml": "apiVersion: v1\nkind: ConfigMap\ndata:\n  MODEL_PATH: /m\n",
        },
    ),
    "compose-version": (
        {"docker-compose.yml": "version: '3.7'\n" + compose("image: app:1")},
        {"docker-compose.yml": compose("image: app:1")},
    ),
    "port-of-airplay": (
        sh("docker run -dp 5000:5000 app:1"),
        sh("docker run -dp 8080:5000 app:1"),
    ),
    "broken-yaml": (
        {"k.yaml": "spec:\nminReplicas: 1\n  maxReplicas: 5\n"},
        {"k.yaml": "spec:\n  minReplicas: 1\n  maxReplicas: 5\n"},
    ),
    "open-load-balancer": (
        {"k.yaml": service("  type: LoadBalancer\n")},
        {"k.yaml": service("  type: LoadBalancer\n  loadBalancerSourceRanges: [192.0.2.0/24]\n")},
    ),
    "autoscaler-target-low": ({"k.yaml": hpa("2")}, {"k.yaml": hpa("60")}),
    "autoscaler-without-requests": (
        {"k.yaml": hpa("60"), "d.yaml": deployment()},
        {"k.yaml": hpa("60"), "d.yaml": deployment("resources: {requests: {cpu: 250m}}")},
    ),
    "budget-of-one": (
        {"k.yaml": BUDGET + deployment(replicas=1)},
        {"k.yaml": BUDGET + deployment(replicas=2)},
    ),
    "whole-cpu-requested": (
        {"k.yaml": deployment("resources: {requests: {cpu: '1'}}")},
        {"k.yaml": deployment("resources: {requests: {cpu: 250m}}")},
    ),
    "request-above-limit": (
        {"k.yaml": deployment("resources: {requests: {memory: 1Gi}, limits: {memory: 512Mi}}")},
        {"k.yaml": deployment("resources: {requests: {memory: 512Mi}, limits: {memory: 1Gi}}")},
    ),
    "no-probes": ({"k.yaml": deployment("ports:\n  - containerPort: 80")}, {"k.yaml": deployment(PROBED)}),
    "no-graceful-stop": ({"k.yaml": deployment(PROBED)}, {"k.yaml": deployment(STOPPING)}),
    "brew-cask": (sh("brew cask install minikube"), sh("brew install --cask minikube")),
    "vm-driver": (sh("minikube start --vm-driver=virtualbox"), sh("minikube start --driver=docker")),
    "docker-compose-v1": (sh("docker-compose up"), sh("docker compose up")),
    "unchecked-download": (
        sh("curl -L https://example.com/releases/download/v1/tool-linux-amd64 -o tool", "chmod +x tool"),
        sh(
            "curl -L https://example.com/releases/download/v1/tool-linux-amd64 -o tool",
            "sha256sum -c tool.sha256",
            "chmod +x tool",
        ),
    ),
    "everywhere-called-localhost": (sh("curl http://0.0.0.0:8000/health"), sh("curl http://localhost:8000/health")),
    "placeholder-consumed": (
        sh("sed -i -e 's/IMAGE/registry.example\\/app/g' k8s/deployment.yaml"),
        sh("sed -e 's/IMAGE/registry.example\\/app/g' k8s/deployment.yaml | kubectl apply -f -"),
    ),
    "column-of-a-table": (
        sh("IP=$(kubectl get svc app --no-headers | awk '{print $4}')"),
        sh("IP=$(kubectl get svc app -o jsonpath='{.status.loadBalancer.ingress[0].ip}')"),
    ),
    "load-balancer-on-minikube": (
        sh("minikube start") | {"k.yaml": service("  type: LoadBalancer\n")},
        sh("minikube start", "minikube tunnel") | {"k.yaml": service("  type: LoadBalancer\n")},
    ),
    "project-wide-role": (
        sh("gcloud projects add-iam-policy-binding p --member serviceAccount:a --role roles/container.developer"),
        sh("gcloud projects add-iam-policy-binding p --member serviceAccount:a --role roles/container.clusterViewer"),
    ),
    "old-build-account": (
        sh('gcloud projects add-iam-policy-binding p --member "serviceAccount:$N@cloudbuild.gserviceaccount.com"'),
        sh('gcloud projects add-iam-policy-binding p --member "serviceAccount:builder@p.iam.gserviceaccount.com"'),
    ),
    "nodes-for-each-zone": (
        sh("gcloud container clusters create c --region us-central1 --num-nodes=1"),
        sh("gcloud container clusters create c --zone us-central1-a --num-nodes=1"),
    ),
    "no-teardown": (sh(CREATE), sh(CREATE, "gcloud container clusters delete c")),
    "cluster-removed-first": (
        sh(CREATE, "gcloud container clusters delete c") | {"k.yaml": service("  type: LoadBalancer\n")},
        sh(CREATE, "kubectl delete -f k.yaml", "gcloud container clusters delete c")
        | {"k.yaml": service("  type: LoadBalancer\n")},
    ),
    "no-random-state": (
        {"t.py": "from sklearn.model_selection import train_test_split\ntrain_test_split(X, y)\n"},
        {"t.py": "from sklearn.model_selection import train_test_split\ntrain_test_split(X, y, random_state=0)\n"},
    ),
    "accuracy-without-baseline": (
        {"t.py": "from sklearn.svm import SVC\nprint((svm.predict(X) == y).mean())\n"},
        {"t.py": "from sklearn.svm import SVC\nprint((svm.predict(X) == y).mean(), y.value_counts())\n"},
    ),
}
