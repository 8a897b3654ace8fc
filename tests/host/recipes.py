"""The parts of a prompt that many live tests share: miniature models, real inputs, and each node's plainest job."""

from __future__ import annotations

from typing import Any

from tests.host.live import ROOT, Graph

NODES = (
    "IdentityEncode",
    "IDLock",
    "AudioFeatures",
    "MoESampler",
    "HighCompressionVAEDecode",
    "LipSyncCheck",
    "WanCastAdapterLoader",
    "WanCastMoEGuider",
    "WanCastMoEModel",
    "WanCastMoESigmas",
    "WanCastDecodeToVideo",
    "WanCastPromptCheck",
    "WanCastIdentityCheck",
    "WanCastCharacterSave",
    "WanCastCharacterLoad",
)
HIGH, LOW = "mini_t2v_high.safetensors", "mini_t2v_low.safetensors"
IMAGE_HIGH, IMAGE_LOW = "mini_i2v_high.safetensors", "mini_i2v_low.safetensors"
SPEECH_MODEL = "mini_s2v.safetensors"
ENCODER = "mini_ir_se.safetensors"
IP_LAYERS, RESAMPLER = "mini_lynx_lite_ip_layers.safetensors", "mini_lynx_lite_resampler.safetensors"
SYNCNET = "mini_syncnet.safetensors"
LANDMARKS = (ROOT / "tests" / "data" / "portrait_landmarks.txt").read_text(encoding="ascii").strip()
SAMPLING: dict[str, Any] = {"seed": 42, "steps": 6, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
WHOLE = {"add_noise": True, "start_at_step": 0, "end_at_step": 10000, "return_with_leftover_noise": False}  # of a run

Link = list[Any]


# Stock nodes


def model(graph: Graph, name: str = HIGH) -> Link:
    return graph.add("UNETLoader", unet_name=name, weight_dtype="default")[0]


def conditioning(graph: Graph) -> dict[str, Link]:
    """Positive and negative, by the names that every sampler uses."""
    clip = graph.add("WanCastDemoTextEncoder", text_encoder="mini_umt5.safetensors")[0]
    texts = {"positive": "a woman walks along a runway", "negative": "blurry"}
    return {name: graph.add("CLIPTextEncode", clip=clip, text=text)[0] for name, text in texts.items()}


def latent(graph: Graph, *, size_px: int = 64, frames: int = 9) -> Link:
    return graph.add("EmptyHunyuanLatentVideo", width=size_px, height=size_px, length=frames, batch_size=1)[0]


def portrait(graph: Graph) -> Link:
    return graph.add("LoadImage", image="portrait.png")[0]


def speech(graph: Graph) -> Link:
    return graph.add("LoadAudio", audio="speech.wav")[0]


def audio_encoder(graph: Graph) -> Link:
    return graph.add("AudioEncoderLoader", audio_encoder_name="mini_wav2vec2.pt")[0]


def vae21(graph: Graph) -> Link:
    return graph.add("VAELoader", vae_name="mini_wan21_vae.safetensors")[0]


def vae22(graph: Graph) -> Link:
    return graph.add("WanCastDemoWan22VAE", vae_file="mini_wan22_vae.safetensors")[0]


def image_conditioning(graph: Graph) -> dict[str, Link]:
    """Positive, negative and latent of a video that begins with the portrait, for an image-to-video model."""
    inputs = conditioning(graph) | {"vae": vae21(graph), "start_image": portrait(graph)}
    video = graph.add("WanImageToVideo", width=64, height=64, length=9, batch_size=1, **inputs)
    return {"positive": video[0], "negative": video[1], "latent_image": video[2]}


def stock_sample(graph: Graph, of_model: Link, **changes: Any) -> Link:
    """The stock sampler's latent."""
    inputs = {"model": of_model, "cfg": 3.0, "latent_image": latent(graph)} | conditioning(graph) | SAMPLING
    return graph.add("KSampler", **inputs | changes)[0]


def advanced_sample(graph: Graph, of_model: Link, **changes: Any) -> Link:
    """The latent of the stock sampler that makes a part of a run."""
    inputs = {"model": of_model, "cfg": 3.0, "latent_image": latent(graph), "noise_seed": 42, "steps": 6}
    inputs |= {"sampler_name": "euler", "scheduler": "simple"} | conditioning(graph) | WHOLE | changes
    switches = {name: "enable" if value else "disable" for name, value in inputs.items() if isinstance(value, bool)}
    return graph.add("KSamplerAdvanced", **inputs | switches)[0]


# Our nodes. Each takes changes to its inputs, so that a test can spoil one of them.


def moe_sample(graph: Graph, **changes: Any) -> Link:
    """MoESampler's latent, by default from the two experts."""
    inputs = {"cfg_high": 3.0, "cfg_low": 3.0, "latent_image": latent(graph), "switch": "auto"} | SAMPLING
    experts = {"model_high": model(graph, HIGH), "model_low": model(graph, LOW)}
    return graph.add("MoESampler", **inputs | experts | conditioning(graph) | changes)[0]


def identity(graph: Graph, **changes: Any) -> Link:
    """IdentityEncode's identity of the portrait."""
    inputs = {"images": portrait(graph), "encoder": ENCODER, "face": "landmarks", "face__landmarks": LANDMARKS}
    return graph.add("IdentityEncode", **inputs | changes)[0]


def saved_character(graph: Graph, **changes: Any) -> Link:
    """WanCastCharacterSave's reference to the portrait's identity."""
    inputs = {"identity": identity(graph), "name": "of the recipes", "if_exists": "replace"}
    return graph.add("WanCastCharacterSave", **inputs | changes)[1]


def loaded_character(graph: Graph, **changes: Any) -> Link:
    """WanCastCharacterLoad's identity of the character that was saved."""
    return graph.add("WanCastCharacterLoad", **{"character": saved_character(graph)} | changes)[0]


def adapter(graph: Graph, **changes: Any) -> Link:
    """WanCastAdapterLoader's adapter."""
    return graph.add("WanCastAdapterLoader", **{"ip_layers": IP_LAYERS, "resampler": RESAMPLER} | changes)[0]


def locked(graph: Graph, of_model: Link, **changes: Any) -> Link:
    """IDLock's model."""
    inputs = {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, "blocks": "all"}
    parts = {"identity": identity(graph), "adapter": adapter(graph)}
    return graph.add("IDLock", **{"model": of_model} | parts | inputs | changes)[0]


def audio_features(graph: Graph, **changes: Any) -> Link:
    """AudioFeatures' tracks of the speech; without an encoder, which is slow."""
    inputs = {"audio": speech(graph), "fps": 16.0, "frames": 0}
    return graph.add("AudioFeatures", **inputs | changes)[1]


def decoded(graph: Graph, **changes: Any) -> Link:
    """HighCompressionVAEDecode's images of a small noise latent."""
    inputs = {"samples": graph.make(latent=[1, 16, 3, 8, 8]), "vae": vae21(graph)}
    return graph.add("HighCompressionVAEDecode", **inputs | changes)[0]


def decoded_to_video(graph: Graph, **changes: Any) -> Link:
    """WanCastDecodeToVideo's video of a small noise latent."""
    inputs = {"samples": graph.make(latent=[1, 16, 3, 8, 8]), "vae": vae21(graph), "fps": 16.0, "codec": "h264"}
    inputs |= {"quality": 18, "encoder": "software", "filename_prefix": "video/test", "save_output": True}
    return graph.add("WanCastDecodeToVideo", **inputs | {"last_frames": 1} | changes)[0]


def lip_sync(graph: Graph, **changes: Any) -> Link:
    """LipSyncCheck's first output for noise and the speech."""
    pictures = graph.make(tensor=[40, 64, 64, 3], fill="unit")
    inputs = {"frames": pictures, "fps": 25.0, "weights": SYNCNET, "mode": "parity", "audio": speech(graph)}
    return graph.add("LipSyncCheck", **inputs | changes)[0]


def prompt_check(graph: Graph, **changes: Any) -> Link:
    """WanCastPromptCheck's prompt, which fits whoever it is: nobody measured the portrait's sex and age."""
    inputs = {"prompt": "A woman with blue eyes walks along a runway.", "identity": identity(graph), "mode": "warn"}
    return graph.add("WanCastPromptCheck", **inputs | changes)[0]


def identity_check(graph: Graph, **changes: Any) -> Link:
    """WanCastIdentityCheck's first output for noise that is taken for aligned faces, and the portrait's identity."""
    inputs = {"clips.clip_1": graph.make(tensor=[3, 112, 112, 3], fill="unit"), "scorer": ENCODER}
    inputs |= {"characters.character_1": identity(graph), "face": "aligned crop", "mode": "plain", "mode.frames": 2}
    return graph.add("WanCastIdentityCheck", **inputs | changes)[0]


# Our parts for stock samplers


def guider(graph: Graph, of_model: Link, **changes: Any) -> Link:
    """The stock guider of a model."""
    return graph.add("CFGGuider", **{"model": of_model, "cfg": 3.0} | conditioning(graph) | changes)[0]


def sigmas(graph: Graph, **changes: Any) -> Link:
    """The stock schedule of the high-noise expert."""
    usual = {"model": model(graph), "scheduler": "simple", "steps": 6, "denoise": 1.0}
    return graph.add("BasicScheduler", **usual | changes)[0]


def sample_with_guider(graph: Graph, of_guider: Link, *, sampler_name: str = "euler", **changes: Any) -> Link:
    """What SamplerCustomAdvanced makes with a guider; its second output is the denoised latent."""
    parts = {
        "noise": graph.add("RandomNoise", noise_seed=SAMPLING["seed"])[0],
        "sampler": graph.add("KSamplerSelect", sampler_name=sampler_name)[0],
        "sigmas": sigmas(graph),
        "latent_image": latent(graph),
    }
    return graph.add("SamplerCustomAdvanced", guider=of_guider, **parts | changes)[0]


def moe_guider(graph: Graph, **changes: Any) -> Link:
    """WanCastMoEGuider's guider, by default of stock guiders of the two experts."""
    guiders = {"guider_high": guider(graph, model(graph, HIGH)), "guider_low": guider(graph, model(graph, LOW))}
    return graph.add("WanCastMoEGuider", **{"switch": "auto"} | guiders | changes)[0]


def moe_model(graph: Graph, **changes: Any) -> Link:
    """WanCastMoEModel's model, by default of the two experts."""
    experts = {"model_high": model(graph, HIGH), "model_low": model(graph, LOW)}
    return graph.add("WanCastMoEModel", **{"switch": "auto"} | experts | changes)[0]


def moe_sigmas(graph: Graph, **changes: Any) -> Link:
    """WanCastMoESigmas' schedule for the two experts."""
    counts = {"high_steps": 3, "low_steps": 3, "spacing": "aligned", "switch": "auto"}
    return graph.add("WanCastMoESigmas", **{"model": model(graph)} | counts | changes)[0]
