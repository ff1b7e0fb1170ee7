from kd_asr.alignment.settings import AlignSettings, LexiconSettings
from kd_asr.corpora.settings import CorpusSettings
from kd_asr.decoding.settings import BeamsSettings, DecodeSettings, LanguageModelSettings, RescoreSettings
from kd_asr.distillation.settings import BaselineSettings, DistilSettings, EnsembleSettings
from kd_asr.features.settings import AugmentSettings, FeatureSettings
from kd_asr.models.settings import AdaptSettings, NetworkSettings
from kd_asr.settings.build import validate
from kd_asr.settings.files import SETTINGS_FILE, load_settings_of, parse_settings_of, save_settings
from kd_asr.stages.reduced_settings import ReducedSettings
from kd_asr.stages.settings import Settings, load_settings, parse_settings
from kd_asr.training.settings import TrainSettings

__all__ = [
    "SETTINGS_FILE",
    "AdaptSettings",
    "AlignSettings",
    "AugmentSettings",
    "BaselineSettings",
    "BeamsSettings",
    "CorpusSettings",
    "DecodeSettings",
    "DistilSettings",
    "EnsembleSettings",
    "FeatureSettings",
    "LanguageModelSettings",
    "LexiconSettings",
    "NetworkSettings",
    "ReducedSettings",
    "RescoreSettings",
    "Settings",
    "TrainSettings",
    "load_settings",
    "load_settings_of",
    "parse_settings",
    "parse_settings_of",
    "save_settings",
    "validate",
]
