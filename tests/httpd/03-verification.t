# What must be refused: each line of the contract's list, over HTTP, with its reason.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;

# Unfit keys, each beside a good one.
my %unfit = (
    enc       => { key => 'rs1', set => { use => 'enc' } },
    sig_only  => { key => 'rs1', set => { use => undef, key_ops => ['sign'] } },
    other_alg => { key => 'rs1', set => { alg => 'RS512' } },
    small     => { key => 'rs1024' },
    off_curve => { key => 'es2', set => { y => 's3Exq0OrYh2Q5PPq4m_U14kJrPnIcbhaF5pUpwvZYOw' } },
    bad_base  => { key => 'rs1', set => { n => 'AA==' } },
    no_kty    => { key => 'rs1', set => { kty => undef } },
    exponent  => { key => 'rs1', set => { e => 'AQ' } },
    symmetric => { key => 'rs1', set => { kty => 'oct', k => 'AAAA' } },
);
control('set', issuer => "unfit_$_", jwks => [ $unfit{$_}, 'es1' ]) for keys %unfit;
control('set', issuer => 'noalg', jwks => [ map { { key => $_, set => { alg => undef, use => undef } } } qw(rs1 es1 es384 ed1) ]);
sub copies { my ($count) = @_; return map { { key => 'rs2', set => { kid => "copy-$_" } } } 1 .. $count }
control('set', issuer => 'fifteen', jwks => [ copies(15), 'rs1' ]);
control('set', issuer => 'sixteen', jwks => [ copies(16), 'rs1' ]);
control('set', issuer => 'hundred', mode => 'many_keys:100');
control('set', issuer => 'hundred_and_one', mode => 'many_keys:101');
control('set', issuer => 'mebibyte', jwks => '{"keys":[],"x":"' . 'x' x (1 << 20) . '"}');
# The same keys with every member null that need not be there, and a number of theirs null that must.
my $public = JSON::decode_json(Gate::Httpd::slurp("$FindBin::RealBin/../support/keys/public.json"));
sub keys_as_text { return JSON::encode_json({ keys => [@_], other => undef }) }
my %null = map { $_ => undef } qw(kid use key_ops alg issuer x5c x5t x5u d p q dp dq qi oth k);
control('set', issuer => 'null', jwks => keys_as_text(map { { %{ $public->{$_} }, %null } } qw(rs1 es1 ed1)));
control('set', issuer => 'null_n', jwks => keys_as_text({ %{ $public->{rs1} }, kid => 'rs1', n => undef }, { %{ $public->{es1} }, kid => 'es1' }));
control('set', issuer => 'nameless', jwks => [ { key => 'rs2', set => { kid => undef } }, { key => 'rs1', set => { kid => undef } }, 'es1' ]);
control('set', issuer => 'ed25519', jwks => [ { key => 'ed1', set => { alg => 'Ed25519' } } ]);
control('set', issuer => 'sixteen_nameless', jwks => [ (map { { key => 'rs2', set => { kid => undef } } } 1 .. 16), { key => 'rs1', set => { kid => undef } } ]);
control('set', issuer => 'twice', jwks => '{"keys":[],"keys":[]}');

my $httpd = httpd(
    "LimitRequestFieldSize 65536\n"
        . join('', map { issuer_section($_) } 'a', 'null', 'null_n', 'nameless', 'sixteen_nameless', 'ed25519', 'noalg', 'fifteen', 'sixteen', 'hundred', 'hundred_and_one', 'mebibyte', 'twice', map { "unfit_$_" } sort keys %unfit)
        . issuer_section('es', 'GateAlgorithms ES256 ES384')
        . issuer_section('rfc9864', 'GateAlgorithms Ed25519')
        . issuer_section('eddsa', 'GateAlgorithms EdDSA')
        . issuer_section('short', 'GateMaxLifetime 10m')
        . issuer_section('tight', 'GateClockSkew 0')
        . issuer_section('strict', 'GateRequire team=shop tier=prod')
        . issuer_section('gl', 'GateKind gitlab')
        . issuer_section('kc', 'GateKind keycloak')
        . issuer_section('goo', 'GateKind google')
        . gated('/', 'Require valid-user')
);
expect_in_log(qr/hundred_and_one|mebibyte|twice|unfit_|null_n/);

sub try_token { my ($token) = @_; return $httpd->get('/x', token => $token) }
sub good { my ($name, %spec) = @_; passes(try_token(mint(issuer => 'a', %spec)), $name) }

# $code may be a list where the contract leaves it open.
sub bad {
    my ($name, $code, %spec) = @_;
    my $answer = try_token(mint(issuer => 'a', %spec));
    my $got = $answer->header('X-Gate-Reason') // '';
    my ($wanted) = ref $code ? ((grep { $_ eq $got } @$code), join '|', @$code) : $code;
    refused($answer, $wanted eq 'keys_unavailable' ? 503 : 401, $wanted, $name);
}
my $malformed = 'token_malformed';
my $no_key = [qw(key_unfit key_unknown)];

# -- algorithms
good("$_ passes", alg => $_) for qw(RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 EdDSA);
good("$_ passes with a key that names no alg", issuer => 'noalg', alg => $_, key => { ES => 'es1', Ed => 'ed1' }->{ substr $_, 0, 2 } // 'rs1') for qw(RS256 PS256 ES256 EdDSA RS512);
bad('alg none',                        'algorithm', alg => 'none', key => 'none');
bad('alg None',                        'algorithm', alg => 'None', key => 'none');
bad('alg none with a good signature',  'algorithm', alg => 'none', key => 'rs1');
bad('HMAC',                            'algorithm', alg => 'HS256');
bad('HMAC with the public key',        'algorithm', alg => 'HS256', key => 'hmac:rs1', kid => 'rs1');
bad('an alg that nobody knows',        'algorithm', alg => 'XX256', key => 'rs1');
bad('ES512',                           'algorithm', alg => 'ES512', key => 'es1');
bad('an alg in small letters',         'algorithm', alg => 'rs256', key => 'rs1');
bad('no alg',                          [ $malformed, 'algorithm' ], header => { alg => undef });
bad('an alg that is a number',         [ $malformed, 'algorithm', 'claim_type' ], header => { alg => 1 });
bad('an alg that is not in GateAlgorithms', 'algorithm', issuer => 'es', alg => 'RS256');
good('one that is passes',             issuer => 'es', alg => 'ES256');
bad("an alg that is not of the key's type", $no_key, alg => 'ES256', kid => 'rs1');
bad('nor the other way round',         $no_key, alg => 'RS256', kid => 'es1');
bad("an alg other than the key's own", $no_key, alg => 'RS512', key => 'rs1');
bad('PSS under a key for PKCS 1',      $no_key, alg => 'PS256', key => 'rs1');
bad('ES256 under a P-384 key',         $no_key, alg => 'ES256', key => 'es384');
bad('ES384 under a P-256 key',         $no_key, alg => 'ES384', key => 'es1', issuer => 'noalg');

# -- keys that the token brings along are ignored
my $evil = issuer_base() . '/evil/jwks';
my $jwk = JSON::decode_json(Gate::Httpd::slurp("$FindBin::RealBin/../support/keys/public.json"))->{rsx};
bad('a key in the header',             'signature', key => 'rsx', kid => 'rs1', header => { jwk => $jwk });
bad('a key set named in the header',   [qw(key_unknown signature)], key => 'rsx', header => { jku => $evil });
bad('a certificate named in the header', 'signature', key => 'rsx', kid => 'rs1', header => { x5u => $evil, x5c => ['AAAA'] });
good('and do no harm to a good one',   header => { jwk => $jwk, jku => $evil, x5u => $evil, x5c => ['AAAA'] });
is(counts('evil')->{jwks}, 0, 'nothing is fetched from where a token says');

# -- one algorithm, two names (RFC 9864)
for my $issuer (qw(a ed25519 rfc9864 eddsa)) {
    good("$_ passes ($issuer)", issuer => $issuer, key => 'ed1', alg => $_) for qw(EdDSA Ed25519);
}
bad("$_ is none of them", 'algorithm', alg => $_, key => 'ed1') for qw(Ed448 ed25519 ED25519);
bad('Ed25519 where another algorithm is listed', 'algorithm', issuer => 'es', alg => 'Ed25519', key => 'ed1');
bad('Ed25519 under an RSA key', $no_key, alg => 'Ed25519', key => 'ed1', kid => 'rs1');

# -- null is absent
for my $key (qw(rs1 es1 ed1)) {
    my $alg = { rs1 => 'RS256', es1 => 'ES256', ed1 => 'EdDSA' }->{$key};
    good("a key whose members are null ($key)", issuer => 'null', key => $key, alg => $alg);
    good("by a token without kid ($key)", issuer => 'null', key => $key, alg => $alg, kid => undef);
}
bad('a key without a number', 'key_unfit', issuer => 'null_n');
good('the key beside it serves', issuer => 'null_n', alg => 'ES256');
for my $name (qw(kid typ cty b64 zip enc jwk jku x5u x5c x5t nonce)) {
    my %without = $name eq 'kid' ? (kid => undef) : $name eq 'typ' ? (header => { typ => undef }) : ();
    good("$name null in the header", %without, raw_header => "{\$members,\"$name\":null}");
}
bad('alg null', 'algorithm', header => { alg => undef }, raw_header => '{$members,"alg":null}');

# -- members of encrypted tokens are unknown members of a signed one
good("$_ in the header", raw_header => "{\$members,$_}") for '"zip":"DEF"', '"enc":"A256GCM"', '"zip":1,"enc":[]', '"epk":{},"apu":"x"';

# -- keys without a name
good('a key without a name, for a token with kid', issuer => 'nameless', kid => 'r1');
good('for a token without', issuer => 'nameless', kid => undef);
good('a key with a name beside it', issuer => 'nameless', alg => 'ES256');
bad('none of them fits', 'signature', issuer => 'nameless', key => 'rsx', kid => 'r1');
bad('none is for the algorithm', 'key_unknown', issuer => 'nameless', key => 'es1', kid => 'r1', alg => 'ES256');
bad('a key of that name is for something else', 'key_unfit', issuer => 'nameless', kid => 'es1');
bad('nor the 17th', 'signature', issuer => 'sixteen_nameless', kid => 'r1');
my $fetched = counts('nameless')->{jwks};
good('which costs no fetch', issuer => 'nameless', kid => "r$_", claims => { jti => $_ }) for 1 .. 5;
is(counts('nameless')->{jwks}, $fetched, 'not one');

# -- crit, b64
bad("crit that holds $_", 'critical', raw_header => "{\$members,\"crit\":$_}") for '["exp"]', '[]', 'null', '"b64"', '["b64"]';
bad('b64: false', [ 'critical', $malformed, 'type' ], header => { b64 => JSON::false });

# -- keys that are unfit are passed over alone
for my $name (sort keys %unfit) {
    my $key = $unfit{$name}{key};
    bad("an unfit key ($name)", $no_key, issuer => "unfit_$name", key => $key, alg => $key =~ /^es/ ? 'ES256' : 'RS256');
    bad("nor without kid ($name)", [ @$no_key, 'signature' ], issuer => "unfit_$name", key => $key, kid => undef, alg => $key =~ /^es/ ? 'ES256' : 'RS256');
    good("the key beside it serves ($name)", issuer => "unfit_$name", alg => 'ES256', key => 'es1');
}
good('a token without kid passes',               kid => undef);
good('by the 16th fitting key too',              issuer => 'fifteen', key => 'rs1', kid => undef);
bad('but not by the 17th', [qw(signature key_unknown)], issuer => 'sixteen', key => 'rs1', kid => undef);
good('with its kid it does',                     issuer => 'sixteen', key => 'rs1');
good('a set of 100 keys serves',                 issuer => 'hundred', key => 'rs1', kid => 'many-99');
bad('a set of 101 keys is refused whole', 'keys_unavailable', issuer => 'hundred_and_one', key => 'rs1', kid => 'many-0');
bad('a set of over 1 MiB is refused whole', 'keys_unavailable', issuer => 'mebibyte');
bad('a set with a member twice is refused whole', 'keys_unavailable', issuer => 'twice');
bad('a kid that nobody knows', 'key_unknown', kid => 'nobody');
like($httpd->error_log, qr/key_unknown: .*the issuer has no key "nobody"; it has "\w+", "\w+"/, 'the log names it, and some that are there');
for my $name ('small', 'off_curve', 'enc') {
    like($httpd->error_log, qr/GATE313: issuer unfit_$name: key $unfit{$name}{key} is passed over: \S/, "the log names the unfit key, and why ($name)");
}
bad('a kid that is a number', [ $malformed, 'claim_type', 'key_unknown' ], kid => 1);

# -- times
my $now = time;
bad('no exp', [qw(claim_type required_claim)], claims => { exp => undef });
for my $claim (qw(exp nbf iat)) {
    for my $value ('"' . ($now + 300) . '"', 'null', 'true', "[$now]", '{}', '-1', '9007199254740994', '1e300', '-0.5') {
        bad("$claim that is $value", 'claim_type', claims => { $claim => undef }, raw_claims => "{\$members,\"$claim\":$value}");
    }
}
good('exp with a fraction passes',      claims => { exp => undef }, raw_claims => '{$members,"exp":' . ($now + 300) . '.5}');
good('exp of 2^53 passes',              claims => { exp => 9007199254740992 });
good('no iat and no nbf passes',        claims => { iat => undef, nbf => undef });
bad('expired',                          'expired', exp_in => -40, iat_in => -300, nbf_in => -300);
bad('exp of 0',                         'expired', claims => { exp => 0 });
good('expired within the leeway passes', exp_in => -15, iat_in => -300, nbf_in => -300);
bad('not without leeway',               'expired', issuer => 'tight', exp_in => -2, iat_in => -300, nbf_in => -300);
bad('nbf in the future',                'not_yet_valid', nbf_in => 60);
good('nbf within the leeway passes',    nbf_in => 15);
bad('iat in the future',                'issued_in_future', iat_in => 60);
good('iat within the leeway passes',    iat_in => 15);
bad('a token that lives too long',      'lifetime', issuer => 'short', exp_in => 700);
bad('one whose life is not known',      'lifetime', issuer => 'short', claims => { iat => undef });
good('one that does not passes',        issuer => 'short', exp_in => 500);

# -- duplicate members
bad('a claim twice',                    'duplicate_member', raw_claims => '{$members,"sub":"root"}');
bad('a claim twice, once escaped',      'duplicate_member', raw_claims => '{$members,"s\\u0075b":"root"}');
bad('a member twice inside a claim',    'duplicate_member', raw_claims => '{$members,"x":{"y":[{"z":1,"z":1}]}}');
bad('a header member twice',            'duplicate_member', raw_header => '{$members,"alg":"RS256"}');
bad('a header member twice, escaped',   'duplicate_member', raw_header => '{$members,"\\u0061lg":"none"}');
bad('kid twice',                        'duplicate_member', raw_header => '{$members,"kid":"rs1"}');

# -- iss, aud
my $iss = issuer_base() . '/a';
bad('another iss',                      'issuer_unknown', claims => { iss => 'https://evil.example.com' });
bad('iss with a slash at its end',      'issuer_unknown', claims => { iss => "$iss/" });
like($httpd->error_log, qr{they differ by a slash at the end: write GateIssuerURL \Q$iss\E/}, 'the log says so');
bad('iss in capitals',                  'issuer_unknown', claims => { iss => uc $iss });
bad('no iss',                           [qw(issuer_unknown required_claim claim_type)], claims => { iss => undef });
bad('iss that is a list',               [qw(issuer_unknown claim_type)], claims => { iss => [$iss] });
bad('the iss of another issuer here',   [qw(signature key_unknown key_unfit)], key => 'rsx', kid => 'rs1', claims => { iss => issuer_base() . '/noalg' });
bad('another aud',                      'audience', claims => { aud => 'other' });
bad('aud in capitals',                  'audience', claims => { aud => 'GATE' });
bad('aud with more at its end',         'audience', claims => { aud => 'gate/' });
bad('no aud',                           [qw(audience required_claim)], claims => { aud => undef });
bad('an empty list of aud',             'audience', claims => { aud => [] });
bad('a list of others',                 'audience', claims => { aud => [ 'x', 'y' ] });
bad('aud that is a number',             [qw(audience claim_type)], claims => { aud => 5 });
good('a list with ours passes',         claims => { aud => [ 'x', 'gate' ] });

# -- form
my $room = mint(issuer => 'a');
my $most = int((16384 - length $room) * 3 / 4) - 40;
good('a token of nearly 16 KiB passes', claims => { pad => 'x' x $most });
bad('a token over 16 KiB',              'token_too_large', claims => { pad => 'x' x ($most + 80) });
bad('an encrypted token',               [ $malformed, 'type' ], mutate => 'five_parts', header => { alg => 'RSA-OAEP', enc => 'A256GCM' }, key => 'rs1');
bad('a nested token',                   [ $malformed, 'type' ], header => { cty => 'JWT' });
bad($_, $malformed, mutate => $_) for qw(padding noncanonical bad_alphabet whitespace bom bom_header bad_utf8 extra_part trailing_dot five_parts two_parts one_part empty_header);
bad('padding of claims', $malformed, mutate => 'padding_claims', claims => { pad => 'x' x $_ }) for 1 .. 2;
bad('empty claims', $malformed, mutate => 'empty_claims');
bad("claims that are $_", $malformed, raw_claims => $_) for '[]', '"x"', '1', 'null', '', '{', '{"a":1,}', "{'a':1}", '{"a":NaN}', '{"a":01}';
bad('something after the claims', $malformed, raw_claims => '{$members} {}');
bad('a header that is a list', $malformed, raw_header => '["RS256"]');
bad('something after the header', $malformed, raw_header => '{$members}{}');
bad('a lone surrogate', $malformed, raw_claims => '{$members,"x":"\\ud800"}');
good('nested 50 deep passes', raw_claims => '{$members,"x":' . '[' x 50 . ']' x 50 . '}');
bad('nested 65 deep', $malformed, raw_claims => '{$members,"x":' . '[' x 65 . ']' x 65 . '}');
bad('nested 5000 deep', $malformed, raw_claims => '{$members,"x":' . '[' x 5000 . ']' x 5000 . '}');
refused(try_token($_), 401, $malformed, "the token '$_'") for '.', '..', '...', 'a.b.c', 'null';
for my $token ('e30.e30.', 'e30.e30.e30') {
    my $answer = try_token($token);
    is($answer->status, 401, "the token '$token'");
    like($answer->header('X-Gate-Reason'), qr/^(?:token_malformed|algorithm)$/, 'which has no alg');
}

# -- signatures
bad("RS256: $_", [ 'signature', $_ eq 'empty_sig' ? $malformed : () ], mutate => $_) for qw(flip_sig truncate_sig long_sig zero_sig empty_sig);
bad("ES256: $_", [ 'signature', $_ eq 'empty_sig' ? $malformed : () ], alg => 'ES256', mutate => $_) for qw(der_sig flip_sig truncate_sig long_sig zero_sig empty_sig);
bad("EdDSA: $_", [ 'signature', $_ eq 'empty_sig' ? $malformed : () ], alg => 'EdDSA', mutate => $_) for qw(flip_sig truncate_sig long_sig zero_sig empty_sig);
bad('a key that is not the one named', 'signature', key => 'rsx', kid => 'rs1');

# -- typ
good("typ $_ passes", header => { typ => $_ }) for 'JWT', 'jwt', 'at+jwt', 'AT+JWT', 'application/at+jwt', 'application/JWT', 'Application/At+Jwt';
good('no typ passes', header => { typ => undef });
bad("typ $_", 'type', header => { typ => $_ }) for 'logout+jwt', 'dpop+jwt', 'gate-assertion+jwt', 'JOSE', 'secevent+jwt', 'x/at+jwt', '';
bad('typ that is a number', [ 'type', $malformed, 'claim_type' ], header => { typ => 1 });

# -- cnf
bad('a token bound to a key', 'not_bound', claims => { cnf => { jkt => 'x' } });
bad('a token bound to a certificate', 'not_bound', claims => { cnf => { 'x5t#S256' => 'x' } });

# -- the user
bad("a user that is $_", [qw(user_missing claim_type)], claims => { sub => undef }, raw_claims => "{\$members,\"sub\":$_}") for '""', '5', 'null', '["a"]', '"a\\u0000b"', '"a\\nb"', '"a\\u007fb"', '"a\\u0085b"';
bad('no user', 'user_missing', claims => { sub => undef });

# -- what an issuer requires
bad('a token that lacks one of two', 'required_claim', issuer => 'strict', claims => { team => 'shop' });
good('a token that has both passes', issuer => 'strict', claims => { team => 'shop', tier => 'prod' });
good('a CI job passes', issuer => 'gl', shape => 'gitlab');
bad("a person's token of the same GitLab", 'required_claim', issuer => 'gl', shape => 'gitlab', claims => { job_id => undef, pipeline_id => undef });
bad('a job without pipeline', 'required_claim', issuer => 'gl', shape => 'gitlab', claims => { pipeline_id => undef });
good('a Keycloak access token passes', issuer => 'kc', shape => 'keycloak');
bad("Keycloak's typ " . ($_ // "missing"), [qw(required_claim type)], issuer => 'kc', shape => 'keycloak', claims => { typ => $_ }) for 'ID', 'Refresh', undef;
good('a Google token passes', issuer => 'goo', shape => 'google');
bad('an address that is not verified', 'required_claim', issuer => 'goo', shape => 'google', claims => { email_verified => JSON::false });

# -- and the cache does not soften any of it
my $short = mint(issuer => 'tight', exp_in => 2);
passes(try_token($short), 'a token passes while it is valid');
passes(try_token($short), 'and again');
sleep 3;
refused(try_token($short), 401, 'expired', 'and no longer once it has expired, cached or not');

finish();
