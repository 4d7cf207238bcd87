"""The layout of the page: its words, and the controls of a restoration."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import gradio.themes as themes

from moceir.image_io.formats import FORMATS
from moceir.restoration.options import EFFORTS
from moceir.web.service import Service

HERE = Path(__file__).parent
EXAMPLES = {
    "noise25_chelsea.png": "Noise",
    "noise50_astronaut.png": "Strong noise",
    "rain_rocket.png": "Rain",
    "haze_astronaut.png": "Haze",
    "blur_chelsea.png": "Blur",
    "low_light_coffee.png": "Low light",
    "jpeg_coffee.png": "JPEG artefacts",
}
"""File names of the example pictures, with what is wrong with each."""
SYSTEM_FONTS = ("system-ui", "sans-serif")
FORMAT_NAMES = {"jpeg": "JPEG", "png": "PNG", "webp": "WebP", "tiff": "TIFF"}

MASTHEAD = """
<header class="masthead">
  <h1>moceir</h1>
  <p>Takes noise, rain, haze, blur, darkness and JPEG artefacts out of photographs, and enlarges them.</p>
  <p class="private">
    <svg viewBox="0 0 16 16" aria-hidden="true"><path d="M4 7V5a4 4 0 0 1 8 0v2h1v8H3V7zm2 0h4V5a2 2 0 0 0-4 0z"/></svg>
    Nothing leaves the machine that runs this page, and it keeps no picture.
  </p>
</header>
"""


class Page(gr.Blocks):
    """A page of Gradio without its queue: the page's own requests go past it."""

    def run_startup_events(self) -> None:
        """Start nothing. Gradio's queue looks for work a thousand times a second, beside the restoration."""


def build_page(service: Service) -> gr.Blocks:
    """Build the page.

    Gradio has the controls and the theme. The pictures go another way than its components would send them: those store
    each upload in a file under the name that the client gave it.

    Args:
        service: Has the models and limits that the page shows.
    """
    with Page(title="moceir", analytics_enabled=False, fill_width=True) as page:
        gr.HTML(MASTHEAD, padding=False)
        with gr.Row():
            with gr.Column(scale=3, min_width=320):
                gr.HTML(
                    html_template=_workspace(service.settings.max_body),
                    js_on_load="import(new URL('files/main.js', document.baseURI)).then((page) => page.start(element))",
                    apply_default_css=False,
                    padding=False,
                )
            with gr.Column(scale=1, min_width=280):
                _build_controls(service)
    return page


def theme() -> themes.Base:
    """Return the theme, with fonts that every system has."""
    return themes.Default(
        primary_hue="blue", neutral_hue="slate", font=SYSTEM_FONTS, font_mono=("ui-monospace", "monospace")
    ).set(  # a contrast of 4.5 or more to what is behind
        body_text_color_subdued="*neutral_500",
        block_info_text_color="*neutral_500",
        block_title_text_color="*neutral_700",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
    )


def _build_controls(service: Service) -> None:
    """Add the controls, named as the fields of ``RestoreOptions``."""
    options = service.model(None).restorer.options
    restoring = [name for name, model in service.models.items() if model.restorer.config.scale == 1]
    models = restoring or list(service.models)
    efforts: list[Any] = list(EFFORTS) if options.effort in EFFORTS else [*EFFORTS, options.effort]
    controls: dict[str, Any] = {}
    with gr.Group():
        controls["strength"] = gr.Slider(
            0, 1, options.strength, step=0.05, label="Strength", info="How much of the restoration to take."
        )
        controls["keep_tones"] = gr.Checkbox(
            options.keep_tones, label="Keep tones", info="Brightness and colours stay as they are: for dusk and mist."
        )
        controls["effort"] = gr.Radio(
            efforts, value=options.effort, label="Effort", info="Low is fast, high is thorough."
        )
        if service.most_upscale > 1:
            factors = [("no", 1), *((f"{factor}x", factor) for factor in range(2, service.most_upscale + 1))]
            controls["upscale"] = gr.Radio(
                factors, value=options.upscale or 1, label="Enlarge", info="Both sides grow, with a model for that."
            )
        controls["model"] = gr.Dropdown(models, value=models[0], label="Model")
    with gr.Accordion("Result file", open=False):
        kinds = [("As the picture", ""), *((FORMAT_NAMES[kind], kind) for kind in FORMATS)]
        controls["format"] = gr.Dropdown(kinds, value=options.format or "", label="Format")
        controls["quality"] = gr.Slider(1, 100, options.quality, step=1, label="Quality", info="Of JPEG and WebP.")
        controls["metadata"] = gr.Radio(
            [("Keep", "keep"), ("Remove", "strip")],
            value=options.metadata,
            label="Metadata",
            info="Place, camera and comments. The colour profile always stays.",
        )
    again = gr.Button("Restore again", variant="primary", elem_id="again")
    again.click(None, [*controls.values()], None, js=_sending("moceir:again", controls))
    changes = [control.change for control in controls.values()]
    gr.on(changes, None, [*controls.values()], None, js=_sending("moceir:settings", controls))


def _sending(event: str, names: Sequence[str] | dict[str, Any]) -> str:
    """Write the JavaScript that sends the values of all controls to the page as an event of the document."""
    return f"""(...values) => {{
        const pairs = {json.dumps([*names])}.map((name, at) => [name, values[at] === "" ? null : values[at]]);
        document.dispatchEvent(new CustomEvent({json.dumps(event)}, {{ detail: Object.fromEntries(pairs) }}));
    }}"""


def _workspace(max_bytes: int) -> str:
    buttons = "\n".join(
        f'<button type="button" data-file="{file}"><img src="examples/{file}" alt="" loading="lazy" />'
        f"{html.escape(name)}</button>"
        for file, name in EXAMPLES.items()
    )
    template = (HERE / "workspace.html").read_text(encoding="utf-8")
    return template.replace("@max_bytes", str(max_bytes)).replace("@examples", buttons)
