"""One file per kind of pretrained model: what others have trained, loaded only when it is used, for its posteriors or
its words."""
