//! Whole lists, page by page, as a modern client reads them.

use serde_json::Value;

use super::Http;

/// The results of all pages of a list. One that changes while it is read is read again.
#[track_caller]
pub(crate) fn pages(url: &str, method: &str) -> Vec<Value> {
    let mut pages: Vec<Value> = Vec::new();
    loop {
        let next = pages.last().and_then(|page| page.get("nextCursor"));
        let params = match next {
            None if pages.is_empty() => String::new(),
            None => return pages,
            Some(cursor) => format!(r#""cursor":{cursor}"#),
        };
        let answer = Http::modern(url, "1", method, None, &params).answer();
        if !pages.is_empty() && answer["error"]["message"].to_string().contains("has changed") {
            pages.clear();
            continue;
        }
        assert!(answer["result"].is_object(), "{answer}");
        pages.push(answer["result"].clone());
        assert!(pages.len() < 1_000, "{method} does not end");
    }
}

/// What names the entries of a list: the member with the list, and the key of an entry.
pub(crate) fn words(method: &str) -> (&'static str, &'static str) {
    match method {
        "tools/list" => ("tools", "name"),
        "prompts/list" => ("prompts", "name"),
        "resources/list" => ("resources", "uri"),
        _ => ("resourceTemplates", "uriTemplate"),
    }
}

/// The names, URIs or templates on one page.
pub(crate) fn names_on(page: &Value, method: &str) -> Vec<String> {
    let (member, key) = words(method);
    let items = page[member].as_array().cloned().unwrap_or_default();
    items.iter().map(|item| item[key].as_str().unwrap().to_owned()).collect()
}

/// The names, URIs or templates of a whole list.
#[track_caller]
pub(crate) fn names(url: &str, method: &str) -> Vec<String> {
    pages(url, method).iter().flat_map(|page| names_on(page, method)).collect()
}

/// Every list there is.
pub(crate) const LISTS: [&str; 4] =
    ["tools/list", "prompts/list", "resources/list", "resources/templates/list"];
