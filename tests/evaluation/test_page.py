"""Pages: text as it is, and tables that fit a phone."""

import re

from seq2seq.evaluation.page import Page


def test_text_of_users_is_no_markup():
    page = Page("<t>", "<s>")
    page.heading("<h>", "<e>")
    page.paragraph("<p>")
    page.table(["<c>", '"'], [["<v>", "&"]])
    html = page.html()
    assert not re.search("<[tsehcv]>", html)
    assert "<p>&lt;p&gt;</p>" in html
    assert '<td data-column="&quot;">&amp;</td>' in html


def test_wide_tables_become_blocks_on_a_phone_and_name_their_cells():
    page = Page("t")
    page.table(list("abcd"), [["1", "2", "3", "4"]])
    page.table(list("abcde"), [["1", "2", "3", "4", ""]])
    narrow, wide = page.parts
    assert 'class="wide"' in narrow
    assert 'class="wide many"' in wide
    assert '<td data-column="d">4</td><td data-column="e"></td>' in wide
    assert re.search(r"@media \(max-width: 40rem\) {.*\.many td::before", page.html(), re.DOTALL)
