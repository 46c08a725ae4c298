"""A network a thousand times cheaper than VGG16 in its place: as a backbone, and exported by the code for runs."""

from pathlib import Path

from trainer.models import preprocessing

SAVED_MODEL, ONNX = "saved_model", "model.onnx"


def backbone():
    """VGG16's five poolings with their names, a convolution with four filters before each but the first; frozen."""
    import keras

    image = keras.Input((224, 224, 3))
    x = keras.layers.MaxPooling2D(2, name="block1_pool")(image)
    for block in range(2, 6):
        options = {"activation": "relu", "kernel_initializer": keras.initializers.HeNormal(seed=block)}
        x = keras.layers.Conv2D(4, 3, padding="same", name=f"block{block}_conv1", **options)(x)
        x = keras.layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    network = keras.Model(image, x, name="backbone")
    network.trainable = False
    return network


def export(folder: Path) -> Path:
    """Write its SavedModel and its ONNX model into `folder` and give that back."""
    import dataclasses

    from export.graph import heatmap, onnx_graph, saved_model
    from export.graph.network import Network
    from export.runtime.model_info import ModelInfo
    from trainer import recipes
    from trainer.models import heads

    folder.mkdir(exist_ok=True)
    maps = backbone()
    recipe = dataclasses.replace(recipes.DEFAULT, units=8)
    head = heatmap.expose_activations(heads.build_head(recipe, maps.output_shape[1:], classes=2, seed=1))
    network = Network(*preprocessing.build_preprocessing("unit").layers, maps, head)
    saved_model.write_saved_model(network, folder / SAVED_MODEL)
    info = ModelInfo(["covid", "normal"], "covid", 0.5, [0.0, 0.0, 1.0, 1.0], "A test.")
    onnx_graph.write_onnx(network, info, folder / ONNX)
    return folder
