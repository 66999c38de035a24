"""The cheap look at every camera: ViT scores, the gate, and the windows it flags."""
