"""The command ``kubechat-obs``: start the layer, ask it, watch it, replay a recorded day."""
