//! The three tools against a stand-in for the service, with answers as the real one gives them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::base::Secret;
use crate::builtin::Builtins;
use crate::builtin::spec::{BuiltinSpec, Context7Spec, ToolSpec};
use crate::builtin::standing::Standing;
use crate::builtin::testing::{Told, call, call_at_once, later};
use crate::egress::stub::{Answer, Seen, Stub};
use crate::telemetry::Status;

use super::tools::{GET_DOCUMENTATION, GET_EXAMPLES, SEARCH_LIBRARIES};

const HOUR: Duration = Duration::from_hours(1);
const KEY: &str = "ctx7sk-hunter2";

fn libraries() -> Value {
    json!({
        "results": [
            {
                "id": "/fastapi-users/fastapi-users", "title": "FastAPI Users",
                "description": "Ready-to-use users management", "branch": "main",
                "lastUpdateDate": "2025-01-15T10:30:00.000Z", "state": "finalized",
                "totalTokens": 50_000, "totalSnippets": 250, "stars": 4_000, "trustScore": 9,
                "benchmarkScore": 99.5, "versions": [],
            },
            {
                "id": "/fastapi/fastapi", "title": "FastAPI", "description": "Web framework",
                "branch": "master", "lastUpdateDate": "2025-01-15T10:30:00.000Z",
                "state": "finalized", "totalTokens": 500_000, "totalSnippets": 2_500,
                "stars": -1, "trustScore": 9.5, "benchmarkScore": 87.2,
                "versions": ["0.115.0", "v0.114.1"],
            },
            { "id": "/websites/fastapi", "title": "FastAPI docs", "totalSnippets": -1, "trustScore": -1 },
        ],
        "searchFilterApplied": false,
    })
}

fn documentation() -> Value {
    json!({
        "codeSnippets": [
            {
                "codeTitle": "Add a middleware", "codeDescription": "Times each request.",
                "codeLanguage": "python", "codeTokens": 150,
                "codeId": "https://github.com/fastapi/fastapi/blob/master/docs/middleware.md#_snippet_0",
                "pageTitle": "Middleware", "isDynamic": false, "sourceFile": "docs/middleware.md",
                "codeList": [{"language": "python", "code": "@app.middleware(\"http\")\n"}],
            },
            {
                "codeTitle": "CORS", "codeDescription": "Allows origins.", "codeLanguage": "python",
                "codeTokens": 100, "codeId": "https://example.org/cors#_snippet_1",
                "pageTitle": "CORS", "codeList": [{"language": "python", "code": "app.add_middleware(CORS)"}],
            },
        ],
        "infoSnippets": [
            {
                "pageId": "https://example.org/middleware", "breadcrumb": "Tutorial > Middleware",
                "content": "A middleware works with every request.", "contentTokens": 200,
            },
        ],
        "rules": {"global": ["Use type hints"], "libraryOwn": []},
    })
}

fn good(seen: &Seen) -> Answer {
    match seen.path.as_str() {
        "/api/v2/libs/search" => Answer::ok(libraries().to_string()),
        "/api/v2/context" => Answer::ok(documentation().to_string()),
        other => panic!("{other}"),
    }
}

fn refusal(status: u16, error: &str, message: &str) -> Answer {
    Answer::json(status, json!({"error": error, "message": message}).to_string())
}

fn spec(stub: &Stub) -> Context7Spec {
    Context7Spec { base_url: format!("{}/api", stub.url()), ..Context7Spec::default() }
}

fn with_key(stub: &Stub) -> Context7Spec {
    Context7Spec { api_key: Some(Secret::new(KEY)), ..spec(stub) }
}

fn tools(context7: Context7Spec) -> Arc<Builtins> {
    Arc::new(Builtins::new(&BuiltinSpec { context7, ..BuiltinSpec::default() }))
}

async fn docs(tools: &Builtins, arguments: Value) -> Told {
    call(tools, GET_DOCUMENTATION, arguments).await
}

/// Documentation by id: one request.
async fn next_js(tools: &Builtins) -> Told {
    docs(tools, json!({"library": "/vercel/next.js"})).await
}

fn standing(tools: &Builtins) -> Standing {
    tools.services()[1].standing.clone()
}

fn params(seen: &Seen) -> Vec<(&str, &str)> {
    seen.query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn attempts(told: &Told) -> Vec<String> {
    let all = told.data["attempted"].as_array().unwrap();
    let word = |attempt: &Value, name| attempt[name].as_str().unwrap().to_owned();
    let line = |attempt| ["step", "provider", "outcome"].map(|name| word(attempt, name)).join(" ");
    all.iter().map(line).collect()
}

// === searching ===

#[tokio::test]
async fn a_search_asks_as_documented_and_lists_what_came() {
    let stub = Stub::start(good).await;
    let tools = tools(spec(&stub));
    let arguments = json!({"query": "fastapi authentication", "limit": 2});
    let told = call(&tools, SEARCH_LIBRARIES, arguments).await;
    let seen = &stub.seen()[0];
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("GET", "/api/v2/libs/search"));
    let question = "fastapi authentication";
    assert_eq!(params(seen), [("libraryName", question), ("query", question)]);
    assert_eq!(seen.header("user-agent"), concat!("waypost/", env!("CARGO_PKG_VERSION")));
    assert!(!seen.headers.contains_key("authorization"), "no key, no header");
    assert!(!seen.headers.keys().any(|name| name.as_str().starts_with("x-context7")));
    assert_eq!(
        told.data["results"],
        json!([
            {
                "id": "/fastapi-users/fastapi-users", "title": "FastAPI Users",
                "description": "Ready-to-use users management", "versions": [], "trust": "high",
                "score": 9.0, "benchmark": 99.5, "snippets": 250, "stars": 4_000,
                "state": "finalized", "updated": "2025-01-15T10:30:00.000Z",
            },
            {
                "id": "/fastapi/fastapi", "title": "FastAPI", "description": "Web framework",
                "versions": ["0.115.0", "v0.114.1"], "trust": "high", "score": 9.5, "benchmark": 87.2,
                "snippets": 2_500, "state": "finalized", "updated": "2025-01-15T10:30:00.000Z",
            },
        ])
    );
    let rest = ["total", "truncated", "source", "stale"].map(|name| told.data[name].clone());
    assert_eq!(rest, [json!(3), json!(true), json!("anonymous"), json!(false)]);
    assert!(told.data["fetched_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(attempts(&told), ["search anonymous ok"]);
    assert!(
        told.text.starts_with("2 of 3 libraries for `fastapi authentication`:\n"),
        "{}",
        told.text
    );
    let words = "- FastAPI — /fastapi/fastapi\n  Web framework\n  trust high, 2500 snippets";
    assert!(told.text.contains(words), "{}", told.text);
    assert_eq!(standing(&tools), Standing::Up);
}

#[tokio::test]
async fn a_key_is_sent_and_never_shown() {
    let stub = Stub::start(good).await;
    let tools = tools(with_key(&stub));
    let told = call(&tools, SEARCH_LIBRARIES, json!({"query": "x", "library": "fastapi"})).await;
    let seen = &stub.seen()[0];
    assert_eq!(seen.header("authorization"), format!("Bearer {KEY}"));
    assert_eq!(params(seen), [("libraryName", "fastapi"), ("query", "x")]);
    assert_eq!(
        (told.data["source"].as_str(), told.data["total"].as_u64()),
        (Some("live"), Some(3))
    );
    stub.stop().await;
    let failed = next_js(&tools).await;
    assert_eq!(failed.status, Status::Unavailable);
    let shown = format!("{told:?} {failed:?} {:?}", tools.services());
    assert!(!shown.contains("hunter2"), "{shown}");
    let service = super::Context7::new(&Context7Spec {
        api_key: Some(Secret::new(KEY)),
        ..Context7Spec::default()
    });
    assert!(!format!("{service:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_question_that_finds_nothing_is_tried_by_its_first_telling_word() {
    let nothing = [r#"{"results":[]}"#, r#"{"error":"no_libraries_found","message":"None"}"#];
    for (status, body) in [(200, nothing[0]), (404, nothing[1])] {
        let stub = Stub::start(move |seen| match seen.param("libraryName") {
            "fastapi" => good(seen),
            _ => Answer::json(status, body),
        })
        .await;
        let tools = tools(spec(&stub));
        let arguments = json!({"query": "how to use fastapi with auth"});
        let told = call(&tools, SEARCH_LIBRARIES, arguments).await;
        assert_eq!((told.data["searched"].as_str(), stub.count()), (Some("fastapi"), 2));
        assert_eq!(stub.seen()[1].param("query"), "how to use fastapi with auth");
        assert_eq!(attempts(&told), ["search anonymous ok", "search anonymous ok"]);
        let told = call(&tools, SEARCH_LIBRARIES, json!({"query": "x y", "library": "q"})).await;
        assert_eq!((told.status, told.data["results"].clone()), (Status::Success, json!([])));
        assert!(told.text.starts_with("No library on Context7 matches `q`."), "{}", told.text);
        assert_eq!(stub.count(), 3, "a library that was named is not guessed at");
    }
}

// === documentation ===

#[tokio::test]
async fn a_name_is_resolved_and_the_pick_reported() {
    let stub = Stub::start(good).await;
    let tools = tools(spec(&stub));
    let told = docs(&tools, json!({"library": "FastAPI", "version": "latest"})).await;
    let seen = stub.seen();
    assert_eq!(params(&seen[0]), [("libraryName", "FastAPI"), ("query", "FastAPI")]);
    assert_eq!(seen[1].path, "/api/v2/context");
    let question = "overview, installation and getting started";
    let expected = [("libraryId", "/fastapi/fastapi"), ("query", question), ("type", "json")];
    assert_eq!(params(&seen[1]), expected);
    assert_eq!(told.data["library"], "/fastapi/fastapi");
    assert_eq!(told.data["version"], "latest");
    assert_eq!(
        told.data["pick"],
        json!({
            "id": "/fastapi/fastapi", "title": "FastAPI", "picked_because": "exact name",
            "runners_up": [
                {"id": "/websites/fastapi", "title": "FastAPI docs", "trust": "unknown"},
                {"id": "/fastapi-users/fastapi-users", "title": "FastAPI Users", "trust": "high"},
            ],
        })
    );
    assert_eq!(
        told.data["snippets"][0],
        json!({
            "id": "https://github.com/fastapi/fastapi/blob/master/docs/middleware.md#_snippet_0",
            "title": "Add a middleware", "description": "Times each request.", "page": "Middleware",
            "language": "python", "tokens": 150,
            "code": [{"language": "python", "code": "@app.middleware(\"http\")\n"}],
        })
    );
    assert_eq!(told.data["info"][0]["breadcrumb"], "Tutorial > Middleware");
    assert_eq!(told.data["rules"]["global"], json!(["Use type hints"]));
    let sizes = ["tokens", "truncated", "omitted"].map(|name| told.data[name].clone());
    assert_eq!(sizes, [json!(450), json!(false), json!(0)]);
    assert_eq!(attempts(&told), ["search anonymous ok", "context anonymous ok"]);
    for words in [
        "# FastAPI (/fastapi/fastapi, latest)\nPicked /fastapi/fastapi: exact name.",
        "## Tutorial > Middleware\nA middleware works with every request.\nSource: https://example.org/middleware",
        "```python\n@app.middleware(\"http\")\n```\nSource: https://github.com/",
        "- Use type hints",
        "Context7 (anonymous), fetched ",
    ] {
        assert!(told.text.contains(words), "{words}\n{}", told.text);
    }
}

#[tokio::test]
async fn a_version_is_matched_with_and_without_v() {
    let stub = Stub::start(good).await;
    let tools = tools(spec(&stub));
    for (asked, id) in
        [("v0.115.0", "/fastapi/fastapi/0.115.0"), ("0.114.1", "/fastapi/fastapi/v0.114.1")]
    {
        let told =
            docs(&tools, json!({"library": "fastapi", "version": asked, "topic": "cors"})).await;
        let seen = stub.seen();
        assert_eq!(seen.last().unwrap().param("libraryId"), id);
        assert_eq!(seen.last().unwrap().param("query"), "cors");
        assert_eq!(told.data["library"], "/fastapi/fastapi");
    }
    assert_eq!(stub.count(), 3, "one search for both");
    let told = docs(&tools, json!({"library": "fastapi", "version": "9.9"})).await;
    assert_eq!((told.status, stub.count()), (Status::Error, 3));
    let words = "no documentation for version 9.9 of FastAPI (/fastapi/fastapi): versions are \
                 latest, 0.115.0, v0.114.1";
    assert_eq!(told.text, words);
}

#[tokio::test]
async fn an_id_is_taken_without_a_search() {
    let stub = Stub::start(good).await;
    let tools = tools(spec(&stub));
    for (arguments, id) in [
        (json!({"library": "/vercel/next.js"}), "/vercel/next.js"),
        (json!({"library": "/vercel/next.js/v15.1.8"}), "/vercel/next.js/v15.1.8"),
        (json!({"library": "/vercel/next.js", "version": "v14"}), "/vercel/next.js/v14"),
        (json!({"library": "/vercel/next.js@v13", "version": "13"}), "/vercel/next.js@v13"),
    ] {
        let told = docs(&tools, arguments).await;
        assert_eq!(stub.seen().last().unwrap().param("libraryId"), id);
        assert_eq!(told.data["library"], "/vercel/next.js");
        assert!(told.data.get("pick").is_none());
    }
    assert_eq!(stub.count(), 4);
}

#[tokio::test]
async fn a_version_of_an_id_is_taken_as_the_service_lists_it() {
    let stub = Stub::start(|seen| match seen.param("libraryId") {
        "/vercel/next.js/v15.0.0" => Answer::ok(documentation().to_string()),
        _ => refusal(404, "tag_not_found", "No such tag. Available tags: v15.0.0, v14.0.0"),
    })
    .await;
    let tools = tools(spec(&stub));
    let told = docs(&tools, json!({"library": "/vercel/next.js", "version": "15.0.0"})).await;
    assert_eq!((told.status, told.data["version"].as_str()), (Status::Success, Some("v15.0.0")));
    let told = docs(&tools, json!({"library": "/vercel/next.js", "version": "9"})).await;
    assert_eq!(told.status, Status::Error);
    assert!(told.text.contains("Available tags: v15.0.0, v14.0.0"), "{}", told.text);
    assert_eq!(stub.count(), 3);
}

#[tokio::test]
async fn examples_are_code_only_and_limited() {
    let stub = Stub::start(good).await;
    let tools = tools(spec(&stub));
    let arguments = json!({"library": "/fastapi/fastapi", "topic": "middleware", "limit": 1});
    let told = call(&tools, GET_EXAMPLES, arguments).await;
    assert_eq!(stub.seen()[0].param("query"), "middleware code example");
    assert_eq!(told.data["snippets"].as_array().unwrap().len(), 1);
    assert!(told.data.get("info").is_none());
    assert_eq!((told.data["tokens"].as_u64(), told.data["omitted"].as_u64()), (Some(150), Some(1)));
    assert!(told.text.contains("150 tokens shown; 1 further pieces left out."), "{}", told.text);
}

#[tokio::test]
async fn a_result_keeps_to_its_tokens() {
    let stub = Stub::start(good).await;
    let tools = tools(spec(&stub));
    let told = docs(&tools, json!({"library": "/a/b", "max_tokens": 360})).await;
    let sizes = ["tokens", "truncated", "omitted"].map(|name| told.data[name].clone());
    assert_eq!(sizes, [json!(350), json!(true), json!(1)]);
}

// === redirects and statuses ===

#[tokio::test]
async fn a_library_that_moved_is_followed_and_remembered() {
    let stub = Stub::start(|seen| match seen.param("libraryId") {
        "/old/repo/v1" => {
            let body = json!({"error": "library_redirected", "message": "Moved", "redirectUrl": "/newer/repo"});
            Answer::json(301, body.to_string())
        }
        "/newer/repo/v1" => {
            Answer::json(301, json!({"redirectUrl": "/newest/repo"}).to_string())
        }
        "/newest/repo/v1" => Answer::ok(documentation().to_string()),
        other => panic!("{other}"),
    })
    .await;
    let tools = tools(spec(&stub));
    let ask = |topic| docs(&tools, json!({"library": "/old/repo/v1", "topic": topic}));
    let told = ask("a").await;
    assert_eq!(
        (told.data["library"].as_str(), told.data["version"].as_str()),
        (Some("/newest/repo"), Some("v1"))
    );
    assert_eq!(stub.count(), 3);
    ask("a").await;
    assert_eq!(stub.count(), 3, "the answer is kept under the name that was asked for");
    ask("b").await;
    assert_eq!(stub.count(), 4, "and the way is known");
}

#[tokio::test]
async fn redirects_end_after_two() {
    let stub = Stub::start(|seen| {
        let to = if seen.param("libraryId") == "/a/b" { "/b/a" } else { "/a/b" };
        Answer::json(301, json!({"redirectUrl": to}).to_string())
    })
    .await;
    let told = docs(&tools(spec(&stub)), json!({"library": "/a/b"})).await;
    assert_eq!((told.status, stub.count()), (Status::Error, 3));
    assert!(told.text.contains("more redirects than are followed"), "{}", told.text);
}

#[tokio::test]
async fn what_the_service_says_about_the_question_is_passed_on_and_not_repeated() {
    for (status, error, says) in [
        (400, "validation_error", "refused (400 validation_error): Because"),
        (403, "access_denied", "refused (403 access_denied): Because"),
        (422, "library_too_large", "refused (422 library_too_large): Because"),
        (404, "library_not_found", "not found (library_not_found): Because"),
        (202, "library_not_finalized", "still being indexed: Because"),
    ] {
        let stub = Stub::start(move |_| refusal(status, error, "Because")).await;
        let tools = tools(spec(&stub));
        let told = next_js(&tools).await;
        assert_eq!((told.status, stub.count()), (Status::Error, 1), "{status}");
        assert!(told.text.contains(says), "{}", told.text);
        assert!(!told.text.contains("offline"), "{}", told.text);
        assert_eq!(standing(&tools), Standing::Up, "the service is well");
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_asked_for_again_at_once() {
    for (status, minutes) in [(404, 10), (202, 1)] {
        let stub = Stub::start(move |_| refusal(status, "code", "Because")).await;
        let tools = tools(spec(&stub));
        next_js(&tools).await;
        let told = next_js(&tools).await;
        assert_eq!((told.status, stub.count()), (Status::Error, 1));
        assert!(told.text.contains("context, cache: "), "{}", told.text);
        later(Duration::from_mins(minutes)).await;
        next_js(&tools).await;
        assert_eq!(stub.count(), 2);
    }
}

#[tokio::test]
async fn an_empty_answer_is_nothing_found() {
    for body in ["", "{}", r#"{"codeSnippets":[],"infoSnippets":[]}"#] {
        let stub = Stub::start(move |_| Answer::ok(body)).await;
        let told = next_js(&tools(spec(&stub))).await;
        assert_eq!(told.status, Status::Error);
        assert!(told.text.contains("not found ("), "{}", told.text);
    }
}

#[tokio::test]
async fn an_unreadable_answer_is_said_to_be_one() {
    for body in ["### Title\n\nSource: x", "[]", r#"{"codeSnippets":5}"#] {
        let stub = Stub::start(move |_| Answer::ok(body)).await;
        let tools = tools(spec(&stub));
        let told = next_js(&tools).await;
        assert_eq!(told.status, Status::Error);
        assert!(told.text.contains("its answer cannot be read"), "{}", told.text);
        assert!(matches!(standing(&tools), Standing::Degraded(_)));
    }
}

#[tokio::test]
async fn a_refused_key_stops_live_calls() {
    let status = Arc::new(AtomicU16::new(200));
    let switch = Arc::clone(&status);
    let stub = Stub::start(move |seen| match switch.load(Ordering::SeqCst) {
        200 => good(seen),
        status => refusal(status, "invalid_api_key", "Bad key"),
    })
    .await;
    let tools = tools(with_key(&stub));
    next_js(&tools).await;
    status.store(401, Ordering::SeqCst);
    for _ in 0..3 {
        let told = docs(&tools, json!({"library": "/a/b"})).await;
        assert_eq!(told.status, Status::Error);
        let words = "Context7 refuses the API key (401 invalid_api_key: Bad key); live calls are \
                     stopped until the configuration changes";
        assert!(told.text.contains(words), "{}", told.text);
    }
    status.store(200, Ordering::SeqCst);
    later(7 * HOUR).await;
    let told = next_js(&tools).await;
    assert_eq!(
        (told.data["source"].as_str(), told.data["stale"].as_bool()),
        (Some("cache"), Some(true))
    );
    assert_eq!(stub.count(), 2, "nobody asks again, least of all without a key");
    let Standing::Degraded(why) = standing(&tools) else { panic!() };
    assert!(why.contains("refuses the API key"), "{why}");
}

#[tokio::test]
async fn a_limit_is_kept_until_it_is_over() {
    for (status, header, wait) in [
        (429, Some(("retry-after", "30")), 30),
        (429, None, 60),
        (402, Some(("ratelimit-reset", "7200")), 7_200),
        (402, None, 3_600),
    ] {
        let now = Arc::new(AtomicU16::new(200));
        let switch = Arc::clone(&now);
        let stub = Stub::start(move |seen| match (switch.load(Ordering::SeqCst), header) {
            (200, _) => good(seen),
            (status, Some((name, value))) => refusal(status, "limit", "Enough").header(name, value),
            (status, None) => refusal(status, "limit", "Enough"),
        })
        .await;
        let tools = tools(spec(&stub));
        next_js(&tools).await;
        later(7 * HOUR).await;
        now.store(status, Ordering::SeqCst);
        for _ in 0..2 {
            let told = next_js(&tools).await;
            assert_eq!((told.data["stale"].as_bool(), stub.count()), (Some(true), 2));
            let said = format!("; next try in {wait} s");
            assert!(attempts(&told)[0].ends_with(&said), "{:?}", attempts(&told));
            assert!(attempts(&told)[1].starts_with("context cache stale, 25"), "{told:?}");
            assert!(told.text.contains("STALE: "), "{}", told.text);
            let told = docs(&tools, json!({"library": "/a/b"})).await;
            assert_eq!((told.status, stub.count()), (Status::RateLimited, 2));
            assert!(told.text.contains(&said), "{}", told.text);
        }
        now.store(200, Ordering::SeqCst);
        later(Duration::from_secs(wait)).await;
        assert_eq!(next_js(&tools).await.data["source"], "anonymous");
    }
}

#[tokio::test]
async fn a_failing_service_is_tried_three_times() {
    for status in [500, 503, 504] {
        let tries = AtomicUsize::new(0);
        let stub = Stub::start(move |seen| match tries.fetch_add(1, Ordering::SeqCst) {
            2 => good(seen),
            _ => refusal(status, "internal_error", "Oh"),
        })
        .await;
        let tools = tools(spec(&stub));
        assert_eq!((next_js(&tools).await.status, stub.count()), (Status::Success, 3));
        let told = docs(&tools, json!({"library": "/a/b"})).await;
        assert_eq!((told.status, stub.count()), (Status::Unavailable, 6));
        assert!(told.text.contains(&format!("fails on its side ({status}): Oh")), "{}", told.text);
    }
}

// === caching and being offline ===

#[tokio::test]
async fn answers_are_new_for_six_hours_and_stand_in_for_a_week() {
    let stub = Stub::start(good).await;
    let tools = tools(spec(&stub));
    let first = next_js(&tools).await;
    later(Duration::from_secs(6 * 3_600 - 5)).await;
    let told = next_js(&tools).await;
    let origin = ["source", "stale", "fetched_at"].map(|name| told.data[name].clone());
    assert_eq!(origin, [json!("cache"), json!(false), first.data["fetched_at"].clone()]);
    assert_eq!(stub.count(), 1);
    stub.stop().await;
    later(HOUR).await;
    let told = next_js(&tools).await;
    assert_eq!(
        (told.data["source"].as_str(), told.data["stale"].as_bool()),
        (Some("cache"), Some(true))
    );
    assert_eq!(told.data["snippets"], first.data["snippets"]);
    let tried = attempts(&told);
    assert!(tried[0].starts_with("context anonymous unreachable: cannot connect to 127.0.0.1:"));
    assert!(tried[1].starts_with("context cache stale, 25"), "{tried:?}");
    later(7 * 24 * HOUR).await;
    let told = next_js(&tools).await;
    assert_eq!(told.status, Status::Unavailable);
}

#[tokio::test]
async fn an_old_answer_says_which_of_the_steps_failed() {
    let status = Arc::new(AtomicU16::new(200));
    let switch = Arc::clone(&status);
    let stub = Stub::start(move |seen| match switch.load(Ordering::SeqCst) {
        500 if seen.path == "/api/v2/context" => refusal(500, "internal_error", "Oh"),
        _ => good(seen),
    })
    .await;
    let tools = tools(spec(&stub));
    docs(&tools, json!({"library": "/fastapi/fastapi"})).await;
    later(7 * HOUR).await;
    status.store(500, Ordering::SeqCst);
    let told = docs(&tools, json!({"library": "fastapi"})).await;
    let tried = attempts(&told);
    let fails = "fails on its side (500): Oh";
    assert_eq!(tried[..2], ["search anonymous ok", &format!("context anonymous {fails}")]);
    assert!(tried[2].starts_with("context cache stale, "), "{tried:?}");
    let words = format!("STALE: a new answer cannot be had: {fails}");
    assert!(told.text.contains(&words), "{}", told.text);
}

#[tokio::test]
async fn offline_with_nothing_stored_is_said_plainly() {
    let stub = Stub::start(good).await;
    let tools = tools(spec(&stub));
    stub.stop().await;
    let calls = [
        (SEARCH_LIBRARIES, json!({"query": "fastapi"}), "search"),
        (GET_DOCUMENTATION, json!({"library": "fastapi"}), "search"),
        (GET_EXAMPLES, json!({"library": "/a/fastapi", "topic": "fastapi"}), "context"),
    ];
    for (name, arguments, step) in calls {
        let told = call(&tools, name, arguments).await;
        assert_eq!(told.status, Status::Unavailable);
        assert!(told.text.starts_with("offline: Context7 cannot be reached"), "{}", told.text);
        for words in [
            "connection refused",
            "local documentation index is not available",
            "No documentation is made up",
            &format!("{step}, anonymous: unreachable"),
            &format!("{step}, cache: nothing stored"),
            &format!("{step}, local: not available"),
        ] {
            assert!(told.text.contains(words), "{words}: {}", told.text);
        }
    }
}

#[tokio::test]
async fn a_slow_service_is_a_timeout() {
    let stub = Stub::start(|seen| good(seen).after(Duration::from_mins(1))).await;
    let timeout = Duration::from_secs(1);
    let tools =
        tools(Context7Spec { tool: ToolSpec { timeout, ..ToolSpec::default() }, ..spec(&stub) });
    let told = next_js(&tools).await;
    assert_eq!((told.status, stub.count()), (Status::Timeout, 1));
    assert!(told.text.contains("did not answer within 0.9 s"), "{}", told.text);
}

#[tokio::test]
async fn a_hundred_calls_at_once_ask_once() {
    let stub = Stub::start(|seen| good(seen).after(Duration::from_millis(50))).await;
    let tools = tools(spec(&stub));
    let all = call_at_once(&tools, GET_DOCUMENTATION, &json!({"library": "fastapi"}), 100).await;
    assert!(all.iter().all(|told| told.data["tokens"] == 450));
    assert_eq!(stub.count(), 2, "one search, one context");
}

#[tokio::test]
async fn a_required_key_that_is_missing_means_no_call() {
    let stub = Stub::start(good).await;
    let required = Context7Spec { api_key_required: true, ..spec(&stub) };
    let told = next_js(&tools(required)).await;
    assert_eq!((told.status, stub.count()), (Status::Error, 0));
    assert!(
        told.text.contains("there is no API key, and api_key_required is set"),
        "{}",
        told.text
    );
    let allowed = Context7Spec { api_key_required: true, ..with_key(&stub) };
    assert_eq!(next_js(&tools(allowed)).await.status, Status::Success);
}

#[tokio::test]
async fn a_key_that_no_header_can_carry_stops_calls_and_is_not_shown() {
    let stub = Stub::start(good).await;
    let broken = Context7Spec { api_key: Some(Secret::new("hunter2\n")), ..spec(&stub) };
    let told = next_js(&tools(broken)).await;
    assert_eq!((told.status, stub.count()), (Status::Error, 0));
    assert!(told.text.contains("no header can carry") && !told.text.contains("hunter2"));
}

#[tokio::test]
async fn bad_arguments_ask_nobody() {
    let stub = Stub::start(good).await;
    let tools = tools(spec(&stub));
    let long = "x".repeat(501);
    for (name, arguments, says) in [
        (SEARCH_LIBRARIES, json!({}), "`query` is missing"),
        (SEARCH_LIBRARIES, json!({"query": long}), "1 to 500 characters, found 501"),
        (
            SEARCH_LIBRARIES,
            json!({"query": "x", "limit": 51}),
            "`limit`: expected a whole number from 1 to 50",
        ),
        (SEARCH_LIBRARIES, json!({"querry": "x"}), "did you mean `query`?"),
        (GET_DOCUMENTATION, json!({"topic": "x"}), "`library` is missing"),
        (GET_DOCUMENTATION, json!({"library": "/x"}), "an id has the form /owner/repo"),
        (
            GET_DOCUMENTATION,
            json!({"library": "x", "version": "1/2"}),
            "`version`: expected one version",
        ),
        (GET_DOCUMENTATION, json!({"library": "/a/b/v1", "version": "2"}), "give one"),
        (GET_DOCUMENTATION, json!({"library": "x", "max_tokens": 5}), "`max_tokens`: expected"),
        (GET_EXAMPLES, json!({"library": "x"}), "`topic` is missing"),
    ] {
        let told = call(&tools, name, arguments).await;
        assert_eq!(told.status, Status::Invalid, "{}", told.text);
        assert!(told.text.contains(says), "{}", told.text);
    }
    assert_eq!(stub.count(), 0);
}
