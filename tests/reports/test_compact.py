"""The same pictures in fewer bytes: styles become classes, empty groups go."""

import re

from reports.svg import OFTEN, chart_style, compacted, new_figure, to_svg

WORDS = 'said style="fill: red" once'


def chart(style, count, *, words=""):
    lines = "".join(f'<path d="M{at} 0" style="{style}"/>' for at in range(count))
    return f'<svg class="chart" role="img">{lines}<text>{words}</text></svg>'


def document(*parts):
    return f"<html><head><title>t</title></head><body>{''.join(parts)}</body></html>"


def test_a_frequent_style_becomes_a_rule():
    """Over all charts of a page; a rare one stays where it is."""
    page = document(chart("fill: none", OFTEN - 1), chart("fill: none", 1), chart("stroke: x", 1))

    found = compacted(page)

    assert found.count('class="k0"') == OFTEN
    assert found.count("fill: none") == 1
    assert ".chart .k0{fill: none}" in found.partition("</head>")[0]
    assert 'style="stroke: x"' in found
    assert len(re.findall("<path", found)) == OFTEN + 1


def test_words_and_what_is_no_chart_stay():
    """A text that looks like a style is a text; a style outside of charts is not looked at."""
    outside = '<p style="fill: red">x</p>' * OFTEN
    page = document(outside, chart("fill: red", OFTEN, words=WORDS))

    found = compacted(page)

    assert outside in found
    assert WORDS in found


def test_a_page_without_charts_is_untouched():
    """Nothing is added where nothing is gained."""
    assert compacted(document("<p>x</p>")) == document("<p>x</p>")


def test_a_drawn_chart_has_no_group_without_an_attribute():
    """Every group that is left says something, and is closed."""
    with chart_style():
        figure, axes = new_figure()
        axes.plot([0, 1], [2, 3], clip_on=True)
        axes.set_xlabel("a <g> of words")
        drawn = to_svg(figure, name="x", alt="nothing")

    assert "<g>" not in drawn
    assert "a &lt;g&gt; of words" in drawn
    assert len(re.findall("<g ", drawn)) == drawn.count("</g>")
    assert "rotate(-0" not in drawn
