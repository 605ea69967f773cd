"""Pictures, speech, recordings and moderation by the unchanged OpenAI SDK for Python, whoever is behind.

The variant says which: `pictures`, `speech`, `recordings` or `moderation`.
"""

import base64
import struct

import openai
from story import RED_PIXEL, expect, interrupted, rejected, run, variant

PICTURE = base64.b64decode(RED_PIXEL)
# Of the form that ElevenLabs gives the ids of voices; the others take any name.
VOICE = "JBFqnCBsd6RMkjVDRZzb"
SPOKEN = b"".join(b"spoken piece %d;" % n for n in range(4))
RATE, SECONDS = 8_000, 3


def recording():
    """Three seconds of silence, which say so themselves."""
    n = RATE * SECONDS
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, RATE, 1, 8)
    head = struct.pack("<4sI4s", b"RIFF", 36 + n, b"WAVE") + form + struct.pack("<4sI", b"data", n)
    return ("silence.wav", head + bytes(n), "audio/wav")


def connect(base_url, api_key):
    return openai.OpenAI(base_url=f"{base_url}/v1", api_key=api_key, max_retries=0, timeout=20)


def check_refusals(ask):
    """Checks what becomes of a refusal and a failure of the upstream, and of a model that is not there."""
    refused = rejected(openai.BadRequestError, lambda: ask("Refuse this.", None))
    assert "malformed" in refused.message, refused.message
    broken = rejected(openai.InternalServerError, lambda: ask("Break down.", None))
    expect((broken.status_code, broken.code), (502, "upstream_error"))
    expect(rejected(openai.NotFoundError, lambda: ask("Go on.", "no-such-model")).code, "model_unknown")


# === Pictures ===


def generate(base_url, api_key, model):
    images = connect(base_url, api_key).images
    answer = images.generate(model=model, prompt="A red dot.", n=2, size="1024x1024")
    expect([picture.b64_json for picture in answer.data], [RED_PIXEL] * 2)


def edit(base_url, api_key, model):
    images = connect(base_url, api_key).images
    answer = images.edit(model=model, image=("dot.png", PICTURE, "image/png"), prompt="Make it red.")
    expect([picture.b64_json for picture in answer.data], [RED_PIXEL])


def edit_several(base_url, api_key, model):
    pictures = [("one.png", PICTURE, "image/png"), ("two.png", PICTURE, "image/png")]
    answer = connect(base_url, api_key).images.edit(model=model, image=pictures, prompt="Put them together.")
    expect([picture.b64_json for picture in answer.data], [RED_PIXEL])


def vary(base_url, api_key, model):
    images = connect(base_url, api_key).images
    answer = images.create_variation(model=model, image=("dot.png", PICTURE, "image/png"), n=2)
    expect([picture.b64_json for picture in answer.data], [RED_PIXEL] * 2)


def picture_errors(base_url, api_key, model):
    images = connect(base_url, api_key).images
    check_refusals(lambda prompt, other: images.generate(model=other or model, prompt=prompt))


# === Speech ===


def speak(base_url, api_key, model):
    answer = connect(base_url, api_key).audio.speech.create(model=model, input="Say it.", voice=VOICE)
    expect(answer.content, SPOKEN)


def speak_stream(base_url, api_key, model):
    speech = connect(base_url, api_key).audio.speech.with_streaming_response
    with speech.create(model=model, input="Say it.", voice=VOICE, response_format="mp3") as answer:
        pieces = list(answer.iter_bytes())
    expect(b"".join(pieces), SPOKEN)
    assert len(pieces) > 1, "the sound was held until it was whole"


def speak_cut(base_url, api_key, model):
    speech = connect(base_url, api_key).audio.speech.with_streaming_response

    def read():
        with speech.create(model=model, input="Cut it.", voice=VOICE) as answer:
            yield from answer.iter_bytes()

    interrupted(read)


def speech_errors(base_url, api_key, model):
    speech = connect(base_url, api_key).audio.speech
    check_refusals(lambda text, other: speech.create(model=other or model, input=text, voice=VOICE))


# === Recordings ===

HEARD = f"Heard {44 + RATE * SECONDS} bytes."


def transcribe(base_url, api_key, model):
    answer = connect(base_url, api_key).audio.transcriptions.create(model=model, file=recording())
    expect(answer.text, HEARD)


def transcribe_text(base_url, api_key, model):
    answer = connect(base_url, api_key).audio.transcriptions.create(model=model, file=recording(), response_format="text")
    expect(answer.strip(), HEARD)


def transcribe_words(base_url, api_key, model):
    answer = connect(base_url, api_key).audio.transcriptions.create(
        model=model, file=recording(), response_format="verbose_json", timestamp_granularities=["word"], language="en"
    )
    expect((answer.text, answer.duration), (HEARD, SECONDS))
    expect([(word.word, word.start, word.end) for word in answer.words], [("Heard", 0.0, 1.5)])


def transcribe_stream(base_url, api_key, model):
    events = connect(base_url, api_key).audio.transcriptions.create(model=model, file=recording(), stream=True)
    events = list(events)
    expect("".join(event.delta for event in events if event.type == "transcript.text.delta"), HEARD)
    expect([event.text for event in events if event.type == "transcript.text.done"], [HEARD])


def translate(base_url, api_key, model):
    answer = connect(base_url, api_key).audio.translations.create(model=model, file=recording())
    expect(answer.text, HEARD)


def recording_errors(base_url, api_key, model):
    audio = connect(base_url, api_key).audio.transcriptions
    check_refusals(lambda text, other: audio.create(model=other or model, file=("a.wav", text.encode(), "audio/wav")))


# === Moderation ===


def moderate(base_url, api_key, model):
    answer = connect(base_url, api_key).moderations.create(model=model, input="I will hurt you.")
    [result] = answer.results
    expect((result.category_scores.to_dict()["violence"], result.categories.to_dict()["violence"]), (0.9, True))


def moderate_several(base_url, api_key, model):
    answer = connect(base_url, api_key).moderations.create(model=model, input=["Hello.", "I will hurt you."])
    expect([result.categories.to_dict()["violence"] for result in answer.results], [False, True])


def moderation_errors(base_url, api_key, model):
    moderations = connect(base_url, api_key).moderations
    check_refusals(lambda text, other: moderations.create(model=other or model, input=text))


VARIANTS = {
    "pictures": {
        "generate": generate,
        "edit": edit,
        "edit_several": edit_several,
        "vary": vary,
        "error": picture_errors,
    },
    "speech": {"speech": speak, "stream": speak_stream, "cut": speak_cut, "error": speech_errors},
    "recordings": {
        "transcribe": transcribe,
        "text": transcribe_text,
        "words": transcribe_words,
        "stream": transcribe_stream,
        "translate": translate,
        "error": recording_errors,
    },
    "moderation": {"moderate": moderate, "several": moderate_several, "error": moderation_errors},
}
run(VARIANTS[variant()])
