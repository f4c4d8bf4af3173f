//! `pg::time` and `pg::text`: values between Postgres and the core.

use pgrx::pg_schema;

#[pg_schema]
mod tests {
    use pg_tock_core::time::Timestamp;
    use pgrx::prelude::*;

    use crate::pg::text::{ServerText, param};
    use crate::pg::time::{from_pg, now, to_pg};

    #[pg_test]
    fn instants_are_counted_from_1970_in_microseconds() {
        for at in [
            "1970-01-01 00:00:00+00",
            "2000-01-01 00:00:00+00",
            "1969-12-31 23:59:59.999999+00",
            "2026-03-29 02:30:00.000001+01",
            "0001-01-01 00:00:00+00 BC",
            "294246-12-31 23:59:59.999999+00",
        ] {
            let micros = Spi::get_one_with_args::<i64>(
                "SELECT (extract(epoch FROM $1::text::timestamptz) * 1000000)::bigint",
                &[at.into()],
            );
            let there = Spi::get_one_with_args::<TimestampWithTimeZone>(
                "SELECT $1::text::timestamptz",
                &[at.into()],
            );
            let there = there.unwrap().unwrap().into_inner();
            assert_eq!(from_pg(there), Timestamp(micros.unwrap().unwrap()), "{at}");
            assert_eq!(to_pg(from_pg(there)), there, "{at}");
        }
    }

    #[pg_test]
    fn infinity_stays_beyond_every_instant() {
        let read = |text: &str| {
            Spi::get_one_with_args::<TimestampWithTimeZone>(
                "SELECT $1::text::timestamptz",
                &[text.into()],
            )
            .unwrap()
            .unwrap()
            .into_inner()
        };
        assert_eq!(from_pg(read("infinity")), Timestamp(i64::MAX));
        // Postgres's last instants are more microseconds after 1970 than 64 bits can count.
        assert_eq!(from_pg(read("294276-12-31 23:59:59+00")), Timestamp(i64::MAX));
        assert_eq!(to_pg(from_pg(read("-infinity"))), i64::MIN);
        assert_eq!(to_pg(Timestamp(i64::MIN)), i64::MIN);
    }

    #[pg_test]
    fn the_clock_is_the_server_s() {
        let clock = || {
            let at = Spi::get_one::<TimestampWithTimeZone>("SELECT clock_timestamp()");
            from_pg(at.unwrap().unwrap().into_inner())
        };
        let (before, at, after) = (clock(), now(), clock());
        assert!(before <= at && at <= after, "{before:?} {at:?} {after:?}");
    }

    #[pg_test]
    fn text_goes_to_a_statement_byte_for_byte() {
        let bytes = "it's \"\u{17e}lu\u{165}\" \\ $1 %s \u{1f551}\r\n\t".as_bytes();
        let there = Spi::get_one_with_args::<Vec<u8>>(
            "SELECT convert_to($1, getdatabaseencoding())",
            &[ServerText::new(bytes).param()],
        );
        assert_eq!(there.unwrap().unwrap(), bytes);
        let none = Spi::get_one_with_args::<bool>("SELECT $1 IS NULL", &[param(None)]);
        assert_eq!(none.unwrap(), Some(true));
        let empty = param(Some(ServerText::new(b"")));
        let empty = Spi::get_one_with_args::<bool>("SELECT $1 = ''", &[empty]);
        assert_eq!(empty.unwrap(), Some(true));
    }

    #[pg_test]
    fn messages_are_in_the_encoding_of_the_database() {
        let encoding = Spi::get_one::<String>("SELECT getdatabaseencoding()::text");
        let expected = match encoding.unwrap().unwrap().as_str() {
            "UTF8" => "na\u{ef}ve \u{fffd}",
            _ => "na??ve ?",
        };
        assert_eq!(ServerText::new(b"na\xc3\xafve \xff").readable(), expected);
    }
}
