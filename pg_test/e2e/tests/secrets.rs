//! Values of secrets are found where they belong, and nowhere else: not in a table, a dump, the
//! server's log at its most talkative, the activity of sessions or the title of a process.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a broken expectation here is a failed test, and has to say so at once"
)]

mod web;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::routing::any;
use pg_tock_test::{Cluster, sqlstate};
use postgres::Client;
use web::Servers;

/// What a value may have: characters that are written differently in URLs, JSON, COPY and base64.
const VALUE: &str = "sk/t+ä\"e5f0c2 91-Zürich/b8d7";
/// The value that takes its place.
const NEXT: &str = "q\"+/ö7741 new-a9c4-Ærø/05ff";

/// Every way a value could be written.
struct Forms(Vec<Vec<u8>>);

impl Forms {
    fn of(values: &[&str]) -> Self {
        let mut forms = Vec::new();
        for value in values {
            let bytes = value.as_bytes();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let percent = |upper: bool, plus: bool| {
                let coded = |&byte: &u8| match byte {
                    b' ' if plus => "+".to_owned(),
                    b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
                    _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
                    _ if upper => format!("%{byte:02X}"),
                    _ => format!("%{byte:02x}"),
                };
                bytes.iter().map(coded).collect::<String>()
            };
            let octal: String = bytes
                .iter()
                .map(|&byte| {
                    if byte.is_ascii() { char::from(byte).into() } else { format!("\\{byte:03o}") }
                })
                .collect();
            let escaped: String = value
                .chars()
                .map(|c| match c {
                    '"' => "\\\"".to_owned(),
                    c if c.is_ascii() => c.to_string(),
                    c => format!("\\u{:04x}", u32::from(c)),
                })
                .collect();
            forms.extend([value.to_string(), hex.clone(), hex.to_uppercase(), octal, escaped]);
            forms.push(value.replace('"', "\\\""));
            forms.push(value.replace('"', "\"\""));
            forms.extend(
                [(true, true), (true, false), (false, true), (false, false)]
                    .map(|(u, p)| percent(u, p)),
            );
            forms.extend((0..3).flat_map(|skipped| base64(bytes, skipped)));
            // What an encoding error or a cut line would still show.
            forms.push(value.chars().take(10).collect());
            forms.push(value.chars().skip(14).collect());
        }
        Self(forms.into_iter().map(String::into_bytes).collect())
    }

    #[track_caller]
    fn must_not_be_in(&self, place: &str, content: &[u8]) {
        if let Some((at, form)) = self.find(content) {
            let around = &content[at.saturating_sub(200)..content.len().min(at + 200)];
            panic!(
                "{place} has a secret as \"{}\": …{}…",
                String::from_utf8_lossy(form),
                String::from_utf8_lossy(around)
            );
        }
    }

    /// Where one of them is; in one go, files are large.
    fn find(&self, content: &[u8]) -> Option<(usize, &[u8])> {
        let mut begins = [false; 256];
        for form in &self.0 {
            begins[usize::from(form[0])] = true;
        }
        for (at, byte) in content.iter().enumerate() {
            if begins[usize::from(*byte)]
                && let Some(form) = self.0.iter().find(|form| content[at..].starts_with(form))
            {
                return Some((at, form));
            }
        }
        None
    }
}

/// What all base64 texts of data with `bytes` in it have in common, if it begins `skipped` bytes
/// after a multiple of three, in both alphabets.
fn base64(bytes: &[u8], skipped: usize) -> [String; 2] {
    let whole = &bytes[skipped..skipped + (bytes.len() - skipped) / 3 * 3];
    ["+/", "-_"].map(|last| {
        let alphabet: Vec<char> =
            ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(last.chars()).collect();
        whole
            .chunks(3)
            .flat_map(|three| {
                let number =
                    u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
                [18, 12, 6, 0].map(|shift| alphabet[(number >> shift & 63) as usize])
            })
            .collect()
    })
}

/// A server that logs all it can, with the extensions that watch statements if there are any.
fn talkative() -> Cluster {
    let cluster = Cluster::builder()
        .conf("log_statement", "all")
        .conf("log_min_messages", "debug5")
        .conf("log_min_error_statement", "debug5")
        .conf("log_min_duration_statement", "0")
        .conf("log_parameter_max_length_on_error", "-1")
        .conf("log_error_verbosity", "verbose")
        .conf("log_executor_stats", "on")
        .conf("track_activity_query_size", "1MB")
        .conf("cron.http_allow", "127.0.0.0/8")
        .start();
    let available = |library: &str| cluster.try_sql(&format!("load '{library}'")).is_ok();
    let watching = ["pg_stat_statements", "auto_explain"].map(|name| (name, available(name)));
    let loaded = watching.iter().filter(|(_, there)| *there).map(|(name, _)| *name);
    let libraries: Vec<&str> = loaded.chain(["pg_tock"]).collect();
    cluster.conf("shared_preload_libraries", &libraries.join(","));
    for (name, value) in [
        ("auto_explain.log_min_duration", "0"),
        ("auto_explain.log_nested_statements", "on"),
        ("auto_explain.log_analyze", "on"),
        ("pg_stat_statements.track", "all"),
    ] {
        cluster.conf(name, value);
    }
    cluster.restart();
    if watching[0].1 {
        cluster.sql("create extension pg_stat_statements");
    }
    cluster
}

fn copy(client: &mut Client, options: &str, lines: &str) -> Result<u64, postgres::Error> {
    let mut writer = client.copy_in(&format!("copy cron.secret_input {options}"))?;
    writer.write_all(lines.as_bytes()).expect("lines are sent");
    writer.finish()
}

/// Sets secrets in the ways the documentation has, uses them, and makes every mistake there is.
fn live(cluster: &Cluster) {
    for role in ["ann", "bob"] {
        cluster.role(role);
        cluster.sql(&format!(
            "grant insert on cron.secret_input to {role}; \
             grant execute on function cron.set_secret(text, text), cron.create_http_job to {role}"
        ));
    }
    let mut ann = cluster.client_as("ann");
    assert_eq!(
        copy(&mut ann, "from stdin", &format!("token\t{VALUE}\nspare\t{VALUE}\n")).unwrap(),
        2
    );
    ann.execute("select cron.set_secret($1, $2)", &[&"bound", &VALUE]).unwrap();
    // As documented, not the way to do it. The server's own log conceals it all the same.
    ann.batch_execute(&format!("select cron.set_secret('literal', '{VALUE}')")).unwrap();
    let seen: String = cluster.one("select query from pg_stat_activity where usename = 'ann'");
    assert_eq!(seen, "<concealed: sets a secret>");

    let mut bob = cluster.client_as("bob");
    bob.execute("select cron.set_secret($1, $2)", &[&"bobs", &VALUE]).unwrap();
    mistakes(&mut bob);
    in_a_job(cluster);

    ann.batch_execute(
        "select cron.create_http_job('call', '0 0 1 1 *', 'http://127.0.0.1:1/{{secret:token}}', \
         headers => '{\"Authorization\": \"Bearer {{secret:bound}}\"}', \
         body => '{\"key\": \"{{secret:literal}}\"}'); \
         select cron.grant_secret('spare', 'bob'); select cron.set_job('call', '{\"method\": \"PUT\"}')",
    )
    .unwrap();
    let denied = ann
        .execute("select cron.set_job('call', '{\"body\": \"{{secret:bobs}}\"}')", &[])
        .unwrap_err();
    assert_eq!(sqlstate(&denied), "42501");
    assert_eq!(
        copy(
            &mut ann,
            "(value, name) from stdin csv",
            &format!("\"{}\",spare\n", NEXT.replace('"', "\"\""))
        )
        .unwrap(),
        1
    );
    ann.batch_execute(
        "select cron.revoke_secret('spare', 'bob'); select cron.drop_secret('spare')",
    )
    .unwrap();
    drop(bob);
    cluster.sql("revoke all on function cron.set_secret(text, text), cron.create_http_job from bob; \
                 revoke all on cron.secret_input from bob; revoke all on schema cron from bob; drop role bob");
    let left: Vec<String> = cluster.column("select name from cron.secrets order by name");
    assert_eq!(left, ["bound", "literal", "token"]);
}

/// The value in every form a server may give it back in, one each line.
fn echo(value: &str) -> String {
    let bytes = value.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
    let some = value.replace('%', "%25").replace('/', "%2f").replace('"', "%22").replace(' ', "+");
    let escaped: String =
        value
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.into()
                } else {
                    format!("\\u{:04x}", u32::from(c))
                }
            })
            .collect();
    let json = value.replace('"', "\\\"").replace('/', "\\/");
    let html = value.replace('"', "&quot;").replace('/', "&#47;").replace('ä', "&auml;");
    let mut basic = format!("user:{value}").into_bytes();
    basic.resize(basic.len().next_multiple_of(3), b' ');
    let [base64, url_safe] = base64(&basic, 0);
    [value, &hex, &hex.to_uppercase(), &percent, &some, &escaped, &json, &html, &base64, &url_safe]
        .join("\n")
}

/// Has jobs send the values, to a server that gives them back in body and headers.
fn send(cluster: &Cluster) {
    let seen: Arc<Mutex<Vec<(String, HeaderMap, String)>>> = Arc::default();
    let log = Arc::clone(&seen);
    let servers = Servers::new();
    let app =
        Router::new().fallback(any(move |uri: Uri, sent: HeaderMap, body: String| async move {
            log.lock().unwrap().push((uri.to_string(), sent.clone(), body.clone()));
            let mut headers = HeaderMap::new();
            for name in ["x-request-id", "location", "content-type", "retry-after", "etag"] {
                headers.insert(name, sent["authorization"].clone());
            }
            headers.append("x-request-id", HeaderValue::from_str(&uri.to_string()).unwrap());
            let (status, content) = match uri.path() {
                // Its beginning is the last that is kept.
                path if path.ends_with("/cut") => (500, format!("{}{VALUE}", "x".repeat(8192 - 9))),
                path if path.ends_with("/moved") => (302, String::new()),
                _ => (200, format!("{uri}\n{sent:?}\n{body}\n{}", echo(VALUE))),
            };
            (StatusCode::from_u16(status).unwrap(), headers, content)
        }));
    let address = servers.http(app);
    let mut ann = cluster.client_as("ann");
    for path in ["here", "cut", "moved"] {
        let url =
            format!("http://{address}/{{{{secret:token}}}}/{path}?key={{{{secret:literal}}}}");
        ann.execute(
            "select cron.create_http_job($1, '0 0 1 1 *', $2, follow_redirects => $1 = 'moved', \
             headers => '{\"Authorization\": \"Bearer {{secret:bound}}\"}', \
             body => '{\"key\": \"{{secret:literal}}\", \"again\": \"{{secret:token}}\"}')",
            &[&path, &url],
        )
        .unwrap();
        let dry = ann.query("select d::text from cron.dry_run($1::text) d", &[&path]).unwrap();
        let shown: String = dry[0].get(0);
        assert!(shown.contains("Bearer ***"), "{shown}");
        Forms::of(&[VALUE]).must_not_be_in("a dry run", shown.as_bytes());
        let run: i64 =
            ann.query_one("select cron.run_now($1::text, wait => true)", &[&path]).unwrap().get(0);
        let row = ann
            .query_one("select http_status, coalesce(response, '') from cron.job_run_details where runid = $1", &[&run])
            .unwrap();
        let (status, response): (Option<i32>, String) = (row.get(0), row.get(1));
        match path {
            "here" => {
                assert!(status == Some(200) && response.matches("***").count() >= 10, "{response}");
            }
            "cut" => assert!(status == Some(500) && response.ends_with("xx***"), "{response}"),
            // The value is no place to go to.
            _ => assert_ne!(status, Some(200), "{response}"),
        }
    }
    // All of that means something only if the values did go out.
    let seen = seen.lock().unwrap();
    assert!(seen.len() >= 3, "each job has sent its request");
    for (uri, headers, body) in seen.iter() {
        assert!(uri.contains("Z%C3%BCrich") && body.contains("Zürich"), "{uri} {body}");
        assert_eq!(headers["authorization"].as_bytes(), format!("Bearer {VALUE}").as_bytes());
    }
}

/// What the server refuses, with a value at hand each time.
fn mistakes(bob: &mut Client) {
    for (options, lines, state) in [
        ("from stdin", format!("bobs\t{VALUE}\ttoo many\n"), "22P04"),
        ("from stdin", format!("{VALUE}\n"), "22P04"),
        ("from stdin", format!("a name\t{VALUE}\n"), "22023"),
        ("from stdin", format!("{VALUE}\tname\n"), "22023"),
        ("from stdin", format!("token\t{VALUE}\n"), "42501"),
        ("from stdin", format!("bobs\t{VALUE}\n\\N\t{VALUE}\n"), "22023"),
        ("from stdin", format!("bobs\t{}\n", VALUE.repeat(1000)), "22023"),
        ("from stdin csv", format!("bobs,\"{VALUE}\"\n"), "22P04"),
        ("from stdin (format csv, header match)", format!("name,{VALUE}\n"), "22P04"),
        ("(value) from stdin", format!("{VALUE}\n"), "22023"),
        ("from stdin binary", format!("{VALUE}\n"), "22P04"),
    ] {
        let Err(refused) = copy(bob, options, &lines) else {
            panic!("{options} takes {}", lines.replace(VALUE, "…"))
        };
        assert_eq!(sqlstate(&refused), state, "{options}: {}", lines.replace(VALUE, "…"));
        let said = format!("{:?}", refused.as_db_error());
        Forms::of(&[VALUE]).must_not_be_in("the answer", said.as_bytes());
    }
    let mut writer = bob.copy_in("copy cron.secret_input from stdin").unwrap();
    writer.write_all(&[b"bobs\t", VALUE.as_bytes(), b"\xff\xfe\n"].concat()).unwrap();
    assert_eq!(sqlstate(&writer.finish().unwrap_err()), "22021");
    for (name, state) in [("token", "42501"), ("a name", "22023")] {
        let refused = bob.execute("select cron.set_secret($1, $2)", &[&name, &VALUE]).unwrap_err();
        assert_eq!(sqlstate(&refused), state);
        let literal = format!("select cron.SET_SECRET('{name}', '{VALUE}')");
        assert_eq!(sqlstate(&bob.batch_execute(&literal).unwrap_err()), state);
    }
    let block = format!("do $$ begin perform cron.set_secret('token', '{VALUE}'); end $$");
    assert_eq!(sqlstate(&bob.batch_execute(&block).unwrap_err()), "42501");
}

/// A job that reads secrets from a file fails with one of its lines.
fn in_a_job(cluster: &Cluster) {
    let path = cluster.dir().join("lines");
    fs::write(&path, format!("from_job\t{VALUE}\ttoo many\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let run = cluster.run_once(&format!("copy cron.secret_input from '{}'", path.display()));
    let run = run.must_have_failed_with("22P04");
    Forms::of(&[VALUE]).must_not_be_in("the ledger", format!("{run:?}").as_bytes());
    fs::remove_file(&path).unwrap();
}

/// Looks for the values everywhere but in `cron.secret`.
fn look_everywhere(cluster: &Cluster, forms: &Forms) {
    cluster.sql("analyze; analyze cron.secret");
    let relations: Vec<String> = cluster.column(
        "select c.oid::regclass::text from pg_class c where relkind in ('r', 'm', 'v') \
         and c.oid <> 'cron.secret'::regclass and (relkind <> 'v' or relnamespace = 'cron'::regnamespace \
          or relname in ('pg_stat_activity', 'pg_stat_statements', 'pg_stats', 'pg_settings', \
           'pg_prepared_statements', 'pg_cursors', 'pg_file_settings')) order by 1",
    );
    for relation in relations {
        let rows: Vec<Option<String>> =
            cluster.column(&format!("select x::text from {relation} as x"));
        for row in rows.into_iter().flatten() {
            forms.must_not_be_in(&relation, row.as_bytes());
        }
    }
    let processes: Vec<i32> = cluster.column("select pid from pg_stat_activity");
    for process in processes {
        let title = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        forms.must_not_be_in("the title of a process", &title);
    }
    for (program, arguments) in
        [("pg_dump", &[][..]), ("pg_dump", &["--inserts", "--schema=cron"]), ("pg_dumpall", &[])]
    {
        let dump = cluster.tool(program).args(arguments).output().unwrap();
        assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
        forms.must_not_be_in(program, &dump.stdout);
    }
    forms.must_not_be_in("the server's log", cluster.log().as_bytes());
}

/// Every file below a directory.
fn look_into_files(directory: &Path, forms: &Forms) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => look_into_files(&path, forms),
            // The server may take a file away meanwhile.
            Ok(kind) if kind.is_file() => {
                let content = fs::read(&path).unwrap_or_default();
                forms.must_not_be_in(&path.display().to_string(), &content);
            }
            _ => {}
        }
    }
}

/// A key file that only the server's user can read, with these names of keys.
fn put_keys(cluster: &Cluster, names: &[&str]) {
    let path = cluster.dir().join("keys");
    // 32 bytes: what is beyond them in the last character is zero.
    let key = |name: &&str| {
        let text = &base64(&[name.as_bytes()[0] & 0x3f; 33], 0)[0];
        format!("{name} {}=\n", &text[..43])
    };
    let lines: String = names.iter().map(key).collect();
    fs::write(&path, lines).unwrap();
    let owner = fs::metadata(cluster.dir()).unwrap();
    chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    cluster.conf("cron.secret_key_file", &path.display().to_string());
    cluster.reload();
    cluster.wait_for(&format!("current_setting('cron.secret_key_file') = '{}'", path.display()));
}

#[test]
fn forms_are_recognised() {
    let forms = Forms::of(&[VALUE]);
    for text in [
        "x sk/t+ä\"e5f0c2 91-Zürich/b8d7 y",
        "sk%2Ft%2B%C3%A4%22e5f0c2%2091-Z%C3%BCrich%2Fb8d7",
        "sk/t+\\u00e4\\\"e5f0c2 91-Z\\u00fcrich/b8d7",
        "\\x736b2f742bc3a4226535663063322039312d5ac3bc726963682f62386437",
        // printf '.%s' "$VALUE" | base64
        "LnNrL3Qrw6QiZTVmMGMyIDkxLVrDvHJpY2gvYjhkNw==",
    ] {
        let found = std::panic::catch_unwind(|| forms.must_not_be_in("text", text.as_bytes()));
        assert!(found.is_err(), "{text}");
    }
    forms.must_not_be_in("another text", "sk/t+ä e5f0c2, not 91-Zurich/b8d7".as_bytes());
}

#[test]
fn without_a_key_file_only_the_table_of_secrets_has_values() {
    let cluster = talkative();
    live(&cluster);
    send(&cluster);
    let forms = Forms::of(&[VALUE, NEXT]);
    let stored: Vec<Vec<u8>> = cluster.column("select value from cron.secret");
    assert!(stored.iter().all(|value| &value[1..] == VALUE.as_bytes()), "{stored:?}");
    look_everywhere(&cluster, &forms);
}

#[test]
fn with_a_key_file_nothing_has_values() {
    let cluster = talkative();
    put_keys(&cluster, &["first"]);
    live(&cluster);
    send(&cluster);
    let forms = Forms::of(&[VALUE, NEXT]);
    look_everywhere(&cluster, &forms);
    let keys =
        || -> Vec<String> { cluster.column("select distinct encrypted_with from cron.secrets") };
    assert_eq!(keys(), ["first"]);

    put_keys(&cluster, &["second", "first"]);
    assert_eq!(cluster.one::<i64>("select cron.rotate_secrets()"), 3);
    assert_eq!(cluster.one::<i64>("select cron.rotate_secrets()"), 0);
    assert_eq!(keys(), ["second"]);
    put_keys(&cluster, &["third"]);
    let lost = cluster.try_sql("select cron.rotate_secrets()").unwrap_err();
    assert_eq!(sqlstate(&lost), "22023");
    assert_eq!(keys(), ["second"], "nothing was changed");
    put_keys(&cluster, &["third", "second"]);
    assert_eq!(cluster.one::<i64>("select cron.rotate_secrets()"), 3);

    let stored: Vec<String> = cluster.column("select value::text from cron.secret");
    forms.must_not_be_in("cron.secret", stored.join("\n").as_bytes());
    look_everywhere(&cluster, &forms);
    cluster.sql("checkpoint");
    cluster.stop();
    look_into_files(cluster.dir(), &forms);
}

#[test]
fn keys_that_others_can_read_are_refused() {
    let cluster = Cluster::start();
    put_keys(&cluster, &["first"]);
    let path = cluster.dir().join("keys");
    let refused = |mode| {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        cluster.try_sql("select cron.set_secret('a', 'b')").map_err(|e| sqlstate(&e).to_owned())
    };
    assert_eq!(refused(0o604), Err("F0000".to_owned()));
    assert_eq!(refused(0o600), Ok(()));
    // Not what was stored under this name.
    cluster.sql("update cron.secret set name = 'b'; select cron.set_secret('a', 'b')");
    put_keys(&cluster, &["second", "first"]);
    let moved = cluster.try_sql("select cron.rotate_secrets()").unwrap_err();
    assert_eq!(sqlstate(&moved), "XX001");
    fs::write(&path, "first too-short\n").unwrap();
    assert_eq!(refused(0o600), Err("F0000".to_owned()));
    fs::remove_file(&path).unwrap();
    let gone = cluster.try_sql("select cron.set_secret('a', 'b')").unwrap_err();
    assert_eq!(sqlstate(&gone), "F0000");
}
