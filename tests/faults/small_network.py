"""A network a thousand times cheaper than VGG16, exported by the code that exports runs."""

from pathlib import Path

SAVED_MODEL, ONNX = "saved_model", "model.onnx"


def export(folder: Path) -> Path:
    """Write its SavedModel and its ONNX model into `folder` and give that back."""
    import dataclasses

    import keras

    from export.graph import heatmap, onnx_graph, saved_model
    from export.graph.network import Network
    from trainer import recipes
    from trainer.models import heads, vgg16

    folder.mkdir(exist_ok=True)
    image = keras.Input((vgg16.IMAGE_SIZE, vgg16.IMAGE_SIZE, 3))
    x = keras.layers.MaxPooling2D(2)(image)
    for index in range(4):
        initializer = keras.initializers.HeNormal(seed=index)
        x = keras.layers.Conv2D(4, 1, activation="relu", kernel_initializer=initializer)(x)
        x = keras.layers.MaxPooling2D(2)(x)
    backbone = keras.Model(image, x, name="backbone")
    recipe = dataclasses.replace(recipes.DEFAULT, units=8)
    head = heatmap.with_activations(heads.build_head(recipe, backbone.output_shape[1:], classes=2, seed=1))
    network = Network(*vgg16.build_preprocessing("unit").layers, backbone, head)
    saved_model.write(network, folder / SAVED_MODEL)
    about = {
        "labels": ["covid", "normal"],
        "positive_class": "covid",
        "threshold": 0.5,
        "heatmap_region": [0.0, 0.0, 1.0, 1.0],
        "intended_use": "A test.",
    }
    onnx_graph.write(network, about, folder / ONNX)
    return folder
