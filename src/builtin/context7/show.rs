//! Pure: documentation as data and as text, within a budget of tokens.

use serde::Serialize;

use crate::builtin::text::push;

use super::wire::{Code, CodeSnippet, Context, InfoSnippet, Rules};

/// Characters of a token, where the service does not count for us.
const CHARS_PER_TOKEN: usize = 4;

/// Whether there is nothing to show.
pub(super) fn is_empty(context: &Context) -> bool {
    code(context).is_empty() && info(context).is_empty()
}

fn code(context: &Context) -> &[CodeSnippet] {
    context.code_snippets.as_deref().unwrap_or(&[])
}

fn info(context: &Context) -> &[InfoSnippet] {
    context.info_snippets.as_deref().unwrap_or(&[])
}

/// A code snippet as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Snippet<'a> {
    /// What to cite: the place it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    title: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<&'a str>,
    tokens: u64,
    code: &'a [Code],
}

/// A piece of prose as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Passage<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    breadcrumb: Option<&'a str>,
    tokens: u64,
    content: &'a str,
}

/// What of a library's documentation is shown.
#[derive(Debug, Serialize)]
pub(super) struct Shown<'a> {
    pub(super) snippets: Vec<Snippet<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) info: Vec<Passage<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rules: Option<&'a Rules>,
    pub(super) tokens: u64,
    pub(super) truncated: bool,
    /// Snippets and passages that were left out.
    pub(super) omitted: usize,
}

impl<'a> Shown<'a> {
    /// Prose and code by turns, in the service's order, whole pieces only, up to the first that
    /// would not fit. One piece there always is.
    pub(super) fn within(context: &'a Context, tokens_max: u64) -> Self {
        let (code, info) = (code(context), info(context));
        let mut shown = Self::none(context);
        'full: for turn in 0..code.len().max(info.len()) {
            if let Some(passage) = info.get(turn).map(Passage::new) {
                if !shown.fits(passage.tokens, tokens_max) {
                    break 'full;
                }
                shown.info.push(passage);
            }
            if let Some(snippet) = code.get(turn).map(Snippet::new) {
                if !shown.fits(snippet.tokens, tokens_max) {
                    break 'full;
                }
                shown.snippets.push(snippet);
            }
        }
        shown.count_omitted(code.len() + info.len());
        shown
    }

    /// The first `limit` code snippets.
    pub(super) fn examples(context: &'a Context, limit: usize) -> Self {
        let all = code(context);
        let mut shown = Self::none(context);
        shown.snippets = all.iter().take(limit).map(Snippet::new).collect();
        shown.tokens = shown.snippets.iter().map(|snippet| snippet.tokens).sum();
        shown.count_omitted(all.len());
        shown
    }

    fn none(context: &'a Context) -> Self {
        let (snippets, info, tokens, truncated, omitted) = (Vec::new(), Vec::new(), 0, false, 0);
        let rules = context.rules.as_ref().filter(|rules| rules.all().next().is_some());
        Self { snippets, info, rules, tokens, truncated, omitted }
    }

    fn fits(&mut self, tokens: u64, tokens_max: u64) -> bool {
        let nothing_yet = self.snippets.is_empty() && self.info.is_empty();
        let sum = self.tokens.saturating_add(tokens);
        let fits = sum <= tokens_max || nothing_yet;
        if fits {
            self.tokens = sum;
        }
        fits
    }

    fn count_omitted(&mut self, all: usize) {
        self.omitted = all.saturating_sub(self.snippets.len() + self.info.len());
        self.truncated = self.omitted > 0;
    }

    /// The documentation to read, in Markdown.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        for passage in &self.info {
            let heading = passage.breadcrumb.unwrap_or("Documentation");
            section(&mut out, heading, passage.content, &[], passage.id);
        }
        for snippet in &self.snippets {
            let words = snippet.description.unwrap_or("");
            section(&mut out, snippet.title, words, snippet.code, snippet.id);
        }
        if let Some(rules) = self.rules {
            out.push_str("## Rules of this library\n");
            for rule in rules.all() {
                push(&mut out, format_args!("- {rule}\n"));
            }
            out.push('\n');
        }
        out
    }
}

impl<'a> Snippet<'a> {
    fn new(of: &'a CodeSnippet) -> Self {
        let code = of.code_list.as_deref().unwrap_or(&[]);
        let chars = code.iter().map(|code| code.code.len()).sum::<usize>();
        let words = of.code_description.as_ref().map_or(0, String::len);
        Self {
            id: of.code_id.as_deref(),
            title: of.code_title.as_deref().unwrap_or("Example"),
            description: of.code_description.as_deref(),
            page: of.page_title.as_deref(),
            language: of.code_language.as_deref(),
            tokens: of.code_tokens.unwrap_or_else(|| estimate(chars + words)),
            code,
        }
    }
}

impl<'a> Passage<'a> {
    fn new(of: &'a InfoSnippet) -> Self {
        Self {
            id: of.page_id.as_deref(),
            breadcrumb: of.breadcrumb.as_deref(),
            tokens: of.content_tokens.unwrap_or_else(|| estimate(of.content.len())),
            content: &of.content,
        }
    }
}

fn estimate(chars: usize) -> u64 {
    u64::try_from(chars.div_ceil(CHARS_PER_TOKEN)).unwrap_or(u64::MAX)
}

fn section(out: &mut String, heading: &str, words: &str, code: &[Code], source: Option<&str>) {
    push(out, format_args!("## {heading}\n"));
    if !words.is_empty() {
        out.push_str(words.trim_end());
        out.push('\n');
    }
    for code in code {
        // A fence longer than any run of ticks within.
        let fence = "`".repeat(longest_run(&code.code).max(2) + 1);
        let language = code.language.as_deref().unwrap_or("");
        push(out, format_args!("{fence}{language}\n{}\n{fence}\n", code.code.trim_end()));
    }
    if let Some(source) = source {
        push(out, format_args!("Source: {source}\n"));
    }
    out.push('\n');
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(code: &[(u64, &str)], info: &[(u64, &str)]) -> Context {
        let code = code.iter().map(|(tokens, text)| {
            let code = serde_json::json!({
                "codeTitle": text, "codeTokens": tokens,
                "codeList": [{"language": "rust", "code": text}],
            });
            serde_json::from_value(code).unwrap()
        });
        let info = info.iter().map(|(tokens, text)| {
            let info = serde_json::json!({"content": text, "contentTokens": tokens});
            serde_json::from_value(info).unwrap()
        });
        Context {
            code_snippets: Some(code.collect()),
            info_snippets: Some(info.collect()),
            rules: None,
        }
    }

    #[test]
    fn tokens_are_cut_between_snippets() {
        let context = context(&[(100, "c1"), (100, "c2")], &[(100, "i1"), (100, "i2")]);
        let kept = |tokens_max| {
            let shown = Shown::within(&context, tokens_max);
            (shown.info.len(), shown.snippets.len(), shown.tokens, shown.omitted, shown.truncated)
        };
        assert_eq!(kept(400), (2, 2, 400, 0, false));
        assert_eq!(kept(399), (2, 1, 300, 1, true));
        assert_eq!(kept(200), (1, 1, 200, 2, true));
        assert_eq!(kept(50), (1, 0, 100, 3, true), "one piece there always is");
    }

    #[test]
    fn tokens_are_estimated_where_none_are_given() {
        let snippet: CodeSnippet =
            serde_json::from_str(r#"{"codeList":[{"code":"12345678"}]}"#).unwrap();
        assert_eq!(Snippet::new(&snippet).tokens, 2);
    }

    #[test]
    fn examples_are_counted() {
        let context = context(&[(1, "a"), (2, "b"), (3, "c")], &[(9, "prose")]);
        let shown = Shown::examples(&context, 2);
        assert_eq!((shown.snippets.len(), shown.tokens, shown.omitted), (2, 3, 1));
        assert!(shown.info.is_empty());
    }

    #[test]
    fn code_cannot_break_out_of_its_fence() {
        let context = context(&[(1, "```\nend")], &[]);
        let text = Shown::within(&context, 10).text();
        assert!(text.contains("````rust\n```\nend\n````\n"), "{text}");
    }
}
