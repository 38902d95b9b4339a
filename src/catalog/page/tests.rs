//! Pages: whole results, nothing lost or doubled, cursors that cannot lead astray.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::catalog::spec::{NamingSpec, OfferSpec};
use crate::catalog::tests::{holding, part, prompting};
use crate::catalog::{Owner, Part, Source, merge};

fn server_info() -> Box<RawValue> {
    RawValue::from_string("{\"name\":\"waypost\",\n\"version\":\"1\"}".to_owned()).unwrap()
}

fn catalog_of(part: &Part) -> Catalog {
    let offer = OfferSpec::all("up");
    let source = Source { owner: Owner::Upstream(0), offer: &offer, part: Some(part) };
    merge(&NamingSpec::default(), &[source]).catalog
}

fn catalog(count: usize) -> Catalog {
    let names: Vec<String> = (0..count).map(|n| format!("t{n}")).collect();
    catalog_of(&part(&names.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// A catalog with this many entries in every list, named after `word`.
fn full(count: usize, word: &str) -> Catalog {
    let texts: Vec<String> = (0..count).map(|n| format!("{word}:{n}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    catalog_of(&Part {
        tools: part(&texts).tools,
        prompts: prompting(&texts).prompts,
        ..holding(&texts, &texts)
    })
}

fn pages_within(catalog: &Catalog, info: &RawValue, len: usize, bytes: usize) -> Pages {
    let spec = PageSpec { scopes: Scopes::default(), server_info: info };
    Pages::render_within(catalog, &spec, Bounds { len, bytes })
}

fn pages(catalog: &Catalog, len: usize) -> Pages {
    pages_within(catalog, &server_info(), len, PAGE_BYTES_MAX)
}

/// One whole answer of the list of tools, as text.
fn answer(pages: &Pages, era: Era, cursor: Option<&str>) -> Result<String, CursorError> {
    let message = pages.message(Kind::Tools, era, cursor, b"7", 60_000)?;
    Ok(String::from_utf8(message).unwrap())
}

/// The second page's cursor.
fn second(pages: &Pages, kind: Kind) -> String {
    walk(pages, kind, Era::Modern)[0]["nextCursor"].as_str().unwrap().to_owned()
}

/// The results of all pages, walked as a client walks them.
fn walk(pages: &Pages, kind: Kind, era: Era) -> Vec<Value> {
    let mut found = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let message = pages.message(kind, era, cursor.as_deref(), b"1", 0).unwrap();
        let mut message: Value = serde_json::from_slice(&message).unwrap();
        let page = message["result"].take();
        cursor = page.get("nextCursor").map(|cursor| cursor.as_str().unwrap().to_owned());
        found.push(page);
        if cursor.is_none() {
            return found;
        }
    }
}

#[test]
fn a_message_is_a_whole_answer() {
    let catalog = catalog(2);
    let pages = pages(&catalog, 1);
    assert_eq!(pages.count(Kind::Tools), 2);
    let next = pages.0.tools.edition.cursor(1);
    let tool = |name: &str| format!(r#"{{"name":"{name}","inputSchema":{{"type":"object"}}}}"#);
    let meta = concat!(
        r#","resultType":"complete","cacheScope":"private","#,
        r#""_meta":{"io.modelcontextprotocol/serverInfo":{"name":"waypost", "version":"1"}},"#,
        r#""ttlMs":60000}}"#
    );
    let head = r#"{"jsonrpc":"2.0","id":7,"result":"#;
    let (first, last) = (tool("up__t0"), tool("up__t1"));
    assert_eq!(
        answer(&pages, Era::Legacy, None).unwrap(),
        format!(r#"{head}{{"tools":[{first}],"nextCursor":"{next}"}}}}"#)
    );
    assert_eq!(
        answer(&pages, Era::Legacy, Some(&next)).unwrap(),
        format!(r#"{head}{{"tools":[{last}]}}}}"#)
    );
    assert_eq!(
        answer(&pages, Era::Modern, None).unwrap(),
        format!(r#"{head}{{"tools":[{first}],"nextCursor":"{next}"{meta}"#)
    );
    assert_eq!(
        answer(&pages, Era::Modern, Some(&next)).unwrap(),
        format!(r#"{head}{{"tools":[{last}]{meta}"#)
    );
}

#[test]
fn every_list_has_its_member_and_its_scope() {
    let info = server_info();
    let mut scopes = Scopes::default();
    scopes[Kind::Prompts] = CacheScope::Public;
    let pages = Pages::render(&full(1, "x"), &PageSpec { scopes, server_info: &info });
    for kind in Kind::ALL {
        let walked = walk(&pages, kind, Era::Modern);
        assert_eq!((walked.len(), pages.count(kind)), (1, 1));
        assert_eq!(walked[0][kind.member()].as_array().unwrap().len(), 1, "{kind:?}");
        assert_eq!(walked[0]["cacheScope"], scopes[kind].as_str());
        assert_eq!(walked[0]["resultType"], "complete");
        let legacy = walk(&pages, kind, Era::Legacy);
        assert_eq!(legacy[0][kind.member()], walked[0][kind.member()]);
        assert_eq!(legacy[0].as_object().unwrap().len(), 1);
    }
}

#[test]
fn an_empty_catalog_has_one_page_of_each_list() {
    let pages = pages(&Catalog::default(), 10);
    for kind in Kind::ALL {
        assert_eq!(pages.count(kind), 1);
        let message = pages.message(kind, Era::Legacy, None, b"\"a\"", 1).unwrap();
        let want = format!(r#"{{"jsonrpc":"2.0","id":"a","result":{{"{}":[]}}}}"#, kind.member());
        assert_eq!(message, want.as_bytes());
    }
}

#[test]
fn pages_that_are_the_same_for_both_eras_are_kept_once() {
    let pages = pages(&full(3, "x"), 2);
    for kind in Kind::ALL {
        for page in &pages.0[kind].pages {
            assert_eq!(page.legacy.as_ptr(), page.modern.as_ptr());
        }
    }
    let mut part = part(&["a", "b"]);
    part.tools[1] = r#"{"name":"b","execution":{},"inputSchema":{"type":"object"}}"#.into();
    let page = &self::pages(&catalog_of(&part), 2).0.tools.pages[0];
    assert!(page.legacy.len() > page.modern.len());
}

#[test]
fn a_page_has_at_most_a_thousand_entries() {
    let names: Vec<String> = (0..1_000).map(|n| format!("t{n}")).collect();
    let full = part(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let offers = ["a", "b", "c"].map(OfferSpec::all);
    let sources: Vec<Source<'_>> = (offers.iter().enumerate())
        .map(|(index, offer)| Source { owner: Owner::Upstream(index), offer, part: Some(&full) })
        .collect();
    let catalog = merge(&NamingSpec::default(), &sources).catalog;
    let info = server_info();
    let spec = PageSpec { scopes: Scopes::default(), server_info: &info };
    let walked = walk(&Pages::render(&catalog, &spec), Kind::Tools, Era::Modern);
    let sizes: Vec<usize> = walked.iter().map(|p| p["tools"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [1_000, 1_000, 1_000]);
    assert!(walked.iter().all(|page| page["cacheScope"] == "private" && page["ttlMs"] == 0));
}

#[test]
fn a_page_has_at_most_four_mebibytes() {
    let filler = "x".repeat(200 * 1024);
    let entry = |n: usize| {
        let key = format!(r#""name":"t{n}","uri":"u:{n}","uriTemplate":"t:{n}""#);
        format!(r#"{{{key},"title":"{filler}","inputSchema":{{"type":"object"}}}}"#).into()
    };
    let big: Vec<Bytes> = (0..50).map(entry).collect();
    let mut part = Part::default();
    for kind in Kind::ALL {
        part.list_mut(kind).clone_from(&big);
    }
    let info = server_info();
    let spec = PageSpec { scopes: Scopes::default(), server_info: &info };
    let pages = Pages::render(&catalog_of(&part), &spec);
    for kind in Kind::ALL {
        assert_eq!(pages.count(kind), 3);
        let list = &pages.0[kind];
        let all = |page: &Page| page.modern.len() + list.tail.len() + TTL_LEN_MAX + 1;
        assert!(list.pages.iter().all(|page| all(page) <= 4 * 1024 * 1024));
    }
}

#[test]
fn the_empty_text_is_a_cursor_and_not_one_of_ours() {
    let pages = pages(&catalog(3), 1);
    assert_eq!(answer(&pages, Era::Modern, Some("")), Err(CursorError::Malformed));
}

#[test]
fn a_cursor_is_good_for_equal_content_of_its_list_only() {
    let old = pages(&full(3, "x"), 1);
    let same = pages(&full(3, "x"), 1);
    let longer = pages(&full(4, "x"), 1);
    let other_bounds = pages(&full(3, "x"), 2);
    for kind in Kind::ALL {
        let next = second(&old, kind);
        let get = |pages: &Pages, kind| pages.message(kind, Era::Legacy, Some(&next), b"1", 0);
        assert_eq!(get(&same, kind), get(&old, kind));
        assert!(get(&same, kind).is_ok());
        assert_eq!(get(&longer, kind), Err(CursorError::Stale));
        assert_eq!(get(&other_bounds, kind), Err(CursorError::Malformed));
        for other in Kind::ALL.into_iter().filter(|other| *other != kind) {
            assert_eq!(get(&old, other), Err(CursorError::Malformed), "{kind:?} {other:?}");
        }
    }
}

#[test]
fn a_change_of_one_list_leaves_the_cursors_of_the_others_good() {
    let mut part = Part { tools: part(&["a", "b"]).tools, ..holding(&["u:1", "u:2"], &[]) };
    part.prompts = prompting(&["a", "b"]).prompts;
    let old = pages(&catalog_of(&part), 1);
    part.resources.pop();
    part.resources.extend(holding(&["u:3"], &[]).resources);
    let new = pages(&catalog_of(&part), 1);
    let moved = |kind| new.message(kind, Era::Modern, Some(&second(&old, kind)), b"1", 0);
    assert_eq!(moved(Kind::Resources), Err(CursorError::Stale));
    assert!(moved(Kind::Tools).is_ok() && moved(Kind::Prompts).is_ok());
}

#[test]
fn another_description_of_ours_moves_no_entry_to_another_page() {
    let catalog = catalog(300);
    let long = format!(r#"{{"name":"waypost","title":"{}"}}"#, "x".repeat(500));
    let long = RawValue::from_string(long).unwrap();
    for bytes in 5_000..5_100 {
        let brief = pages_within(&catalog, &server_info(), 1_000, bytes);
        let long = pages_within(&catalog, &long, 1_000, bytes);
        let texts = |pages: &Pages| {
            pages.0.tools.pages.iter().map(|page| page.legacy.clone()).collect::<Vec<_>>()
        };
        assert_eq!(texts(&brief), texts(&long), "{bytes}");
    }
}

#[test]
fn every_changed_character_is_noticed() {
    let pages = pages(&full(5, "x"), 1);
    for kind in Kind::ALL {
        let get = |cursor: &str| pages.message(kind, Era::Modern, Some(cursor), b"1", 0);
        let good = second(&pages, kind);
        assert!(get(&good).is_ok());
        for at in 0..good.len() {
            for new in ["A", "z", "_", "=", "%", "é"] {
                let mut bad = good.clone();
                bad.replace_range(at..=at, new);
                if bad != good {
                    assert_eq!(get(&bad), Err(CursorError::Malformed));
                }
            }
        }
        let bad = [
            format!("{good}="),
            format!(" {good}"),
            good.replacen(|_: char| true, "", 1),
            "2".to_owned(),
        ];
        for bad in bad {
            assert_eq!(get(&bad), Err(CursorError::Malformed), "{bad}");
        }
    }
}

#[test]
fn a_page_that_never_was_is_refused() {
    let pages = pages(&catalog(3), 1);
    let beyond = pages.0.tools.edition.cursor(3);
    assert_eq!(answer(&pages, Era::Modern, Some(&beyond)), Err(CursorError::Malformed));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn all_pages_together_are_all_tools_in_order(
        sizes in prop::collection::vec(0_usize..3_000, 0..40),
        len in 1_usize..12,
        bytes in 5_000_usize..20_000,
    ) {
        let mut part = part(&[]);
        // Some tools differ between the eras: both must be split at the same places.
        part.tools = sizes
            .iter()
            .enumerate()
            .map(|(n, size)| {
                let filler = "x".repeat(*size);
                let (only, schema) = match n % 3 {
                    0 => ("execution", r#"{"type":"object"}"#),
                    1 => ("title", r#"{"type":"object"}"#),
                    _ => ("title", r#"{"type":"object","x-mcp-header":"A"}"#),
                };
                format!(r#"{{"name":"t{n}","{only}":"{filler}","inputSchema":{schema}}}"#).into()
            })
            .collect();
        let catalog = catalog_of(&part);
        prop_assert_eq!(catalog.tools().len(), sizes.len());
        let pages = pages_within(&catalog, &server_info(), len, bytes);
        for era in [Era::Legacy, Era::Modern] {
            let walked = walk(&pages, Kind::Tools, era);
            prop_assert_eq!(walked.len(), pages.count(Kind::Tools));
            let mut all = Vec::new();
            for page in &walked {
                let tools = page["tools"].as_array().unwrap();
                prop_assert!(tools.len() <= len);
                prop_assert!(!tools.is_empty() || sizes.is_empty());
                all.extend(tools.iter().cloned());
            }
            let want: Vec<Value> = catalog
                .tools()
                .iter()
                .map(|tool| serde_json::from_slice(tool.definition(era)).unwrap())
                .collect();
            prop_assert_eq!(all, want);
        }
        for page in &pages.0.tools.pages {
            let tail = pages.0.tools.tail.len() + TTL_LEN_MAX;
            prop_assert!(page.legacy.len() < bytes && page.modern.len() + tail < bytes);
        }
    }

    #[test]
    fn no_text_crashes_a_cursor(text in any::<String>()) {
        let pages = pages(&catalog(2), 1);
        prop_assert!(answer(&pages, Era::Modern, Some(&text)).is_err());
    }
}
