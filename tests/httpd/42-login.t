# GitLab's OmniAuth login: a person known to the gate comes back with a statement that serves once.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use File::Temp ();
use JSON ();
use MIME::Base64 qw(decode_base64url encode_base64url);
use Time::HiRes qw(sleep);

my $dir = File::Temp->newdir('gate-login-XXXXXX', TMPDIR => 1);
chmod 0755, $dir;
sub key {
    my ($name) = @_;
    my $file = Gate::Httpd::spew("$dir/$name.pem", Gate::Httpd::slurp("$FindBin::RealBin/../support/keys/$name.pem"));
    chmod 0600, $file;
    return "GateAssertionKey file:$file\n";
}
# As lib/omni_auth/strategies/jwt.rb of GitLab verifies: the algorithm, exp, the claims, the age.
sub provider {
    my ($jwt, $public, $algorithm) = @_;
    my $script = <<'RUBY';
        require 'jwt'
        decoded = JWT.decode(ARGV[0], OpenSSL::PKey.read(File.read(ARGV[1])), true, { algorithm: ARGV[2] }).first
        %w(name email).each { |it| raise "Missing required '#{it}' claim" unless decoded.key?(it) }
        raise 'no iat' unless decoded['iat']
        raise 'skewed' if (Time.now.to_i - decoded['iat']).abs > 60
        print decoded['email'], ' ', decoded['name']
RUBY
    open my $out, '-|', 'ruby', '-e', $script, $jwt, $public, $algorithm or die "ruby: $!";
    local $/;
    my $text = <$out>;
    close $out;
    return $text // '';
}

expect_in_log('AH01136: Unescaped URL path matched ProxyPass');
my $places = gated('/', 'GateTokenFrom bearer cookie:gate_token', 'GateAssertion on', 'Require valid-user')
    . "<LocationMatch ^(?:/[^/]+)*/-/gate/login\$>\n SetHandler gate-gitlab-login\n</LocationMatch>\n";
my $token = mint(issuer => 'a', claims => { email => 'dana@example.com', name => 'Dana D' }, exp_in => 900);
my $httpd;
for my $case ([ 'rs1', 'RS256' ], [ 'es1', 'ES256' ]) {
    my ($name, $algorithm) = @$case;
    # An Ed25519 key before it is passed over: GitLab's provider does not know it.
    $httpd = httpd(key('ed1') . key($name) . issuer_section('a') . $places);
    my $answer = $httpd->get('/-/gate/login', headers => [ Cookie => "gate_token=$token" ]);
    is($answer->status, 302, "$algorithm: a person who is known is sent on");
    my ($jwt) = ($answer->header('Location') // '') =~ m{^/users/auth/jwt/callback\?jwt=([\w.-]+)$};
    ok($jwt, 'to GitLab, on this host') or diag($answer->as_string);
    is($answer->header('Cache-Control'), 'no-store', 'nobody keeps that');
    system "openssl pkey -in $dir/$name.pem -pubout -out $dir/$name.pub 2>/dev/null";
    is(provider($jwt, "$dir/$name.pub", $algorithm), 'dana@example.com Dana D', "GitLab's provider takes it");
    my $claims = JSON::decode_json(decode_base64url((split /\./, $jwt)[1]));
    cmp_ok($claims->{exp} - $claims->{iat}, '<=', 60, 'for a minute at most');

    passes($httpd->get("/users/auth/jwt/callback?jwt=$jwt", token => $token), 'it passes the gate');
    refused($httpd->get("/users/auth/jwt/callback?jwt=$jwt", token => $token), 403, 'login', 'once');
    for my $root ('/gitlab', '/dev/git%20lab') {
        my $below = $httpd->get("$root/-/gate/login?origin=/gitlab/dashboard", headers => [ Cookie => "gate_token=$token" ]);
        my ($again) = $root =~ /%/ ? () : ($below->header('Location') // '') =~ m{^\Q$root\E/users/auth/jwt/callback\?jwt=([\w.-]+)&origin=/gitlab/dashboard$};
        if ($root =~ /%/) { refused($below, 403, 'login', 'a root that is not plain') }
        else {
            ok($again, "$algorithm: below $root to its own callback") or diag($below->as_string);
            passes($httpd->get("$root/users/auth/jwt/callback?jwt=$again", token => $token), 'it passes there');
            refused($httpd->get("$root/users/auth/jwt/callback?jwt=$again", token => $token), 403, 'login', 'once, there too');
            refused($httpd->get("/users/auth/jwt/callback?jwt=$again", token => $token), 403, 'login', 'and nowhere else after it');
        }
    }
    my $away = $httpd->get('//evil.example/-/gate/login', headers => [ Cookie => "gate_token=$token" ]);
    unlike($away->header('Location') // '', qr{^//}, 'no other host is led to') or diag($away->as_string);
    unlike($httpd->access_log . $httpd->error_log, qr/\Q@{[ substr $jwt, -40 ]}\E/, 'no log holds it');
    refused($httpd->get("/USERS/auth/jwt/callback/?%6Awt=$jwt", token => $token), 403, 'login', 'however it is spelled');
}
sub fresh { return ($httpd->get('/-/gate/login', token => $token, @_)->header('Location') // '') =~ /jwt=([\w.-]+)/ ? $1 : '' }
my $jwt = fresh();
my @parts = split /\./, $jwt;
refused($httpd->get("/users/auth/jwt/callback?jwt=$jwt", token => mint(issuer => 'a', claims => { sub => 'eve' })), 403, 'login', 'nobody else can use it');
refused($httpd->get("/users/auth/jwt/callback?jwt=$jwt"), 401, 'token_missing', 'nor somebody unknown; the logs hold no login that is still good');
refused($httpd->get('/users/auth/jwt/callback?jwt=' . join('.', $parts[0], encode_base64url('{"jti":"0","exp":9999999999,"sub":"dana"}'), $parts[2]), token => $token), 403, 'login', 'nor change it');
refused($httpd->get("/users/auth/jwt/callback?jwt=$jwt&jwt=" . fresh(), token => $token), 403, 'login', 'nor send two');
refused($httpd->get("/users/auth/jwt/callback?jwt=" . join('.', encode_base64url('{"alg":"none"}'), @parts[ 1, 2 ]), token => $token), 403, 'login', "nor one that is signed otherwise");
refused($httpd->ask('POST', '/users/auth/jwt/callback?jwt=' . fresh(), token => $token, body => ''), 403, 'login', 'nor post it');
refused($httpd->ask('POST', '/users/auth/jwt/callback', token => $token, headers => [ 'Content-Type' => 'application/x-www-form-urlencoded' ], body => "jwt=$jwt"), 403, 'login', 'nor hide it in a body');
for my $query ('jwt=1&[jwt]=2', 'jwt=1;%5Bjwt=2', ']jwt=2&jwt=1', 'jwt[]=2&jwt=1') {
    my $one = fresh();
    refused($httpd->get('/users/auth/jwt/callback?' . $query =~ s/1/$one/r, token => $token), 403, 'login', "nor send two by another name: $query");
}
# Rack prefers a form's parameter to the query's, by GET too
my @form = ('Content-Type' => 'application/x-www-form-urlencoded');
for my $with ([ headers => [@form], body => 'jwt=another' ], [ headers => [ @form, 'Transfer-Encoding' => 'chunked' ], body => "b\r\njwt=another\r\n0\r\n\r\n" ], [ headers => [@form] ], [ headers => [ 'Content_Type' => $form[1] ] ], [ body => 'jwt=another' ]) {
    refused($httpd->ask('GET', '/users/auth/jwt/callback?jwt=' . fresh(), token => $token, @$with), 403, 'login', 'nor by GET with a body or the type of one');
}
refused($httpd->get('/users/auth/jwt/callback?jwt=' . $httpd->get('/x', token => $token)->sent('X-Gate-Assertion'), token => $token), 403, 'login', 'an assertion is no login');
refused($httpd->get('/users/auth/jwt/callback?jwt=x.y.z'), 401, 'token_missing', 'nor come unknown');
passes($httpd->get("/users/auth/jwt/callback?jwt=$jwt", token => $token), 'and none of that has used it up');

is($httpd->ask('POST', '/-/gate/login', token => $token)->status, 405, 'the login is asked for by GET alone');
refused($httpd->get('/-/gate/login'), 401, 'token_missing', 'a person who is not known is not sent on');
refused($httpd->get('/-/gate/login', token => mint(issuer => 'a', exp_in => -100)), 401, 'expired', 'nor one whose token has expired');
refused($httpd->get('/-/gate/login', token => mint(issuer => 'a')), 403, 'claim', 'nor one without an address');
refused($httpd->get('/-/gate/login', token => mint(issuer => 'a', claims => { email => 'd@e.f', email_verified => $_ })), 403, 'claim', 'nor with one that is not verified')
    for JSON::false, 'false', 'no', 0, [];
is($httpd->get('/-/gate/login', token => mint(issuer => 'a', claims => { email => 'd@e.f', email_verified => $_ }))->status, 302, 'one that is passes') for JSON::true, 'true';
my $long = mint(issuer => 'a', claims => { email => 'd@e.f', name => 'x' x 4000 });
cmp_ok(length($httpd->get('/-/gate/login', token => $long)->header('Location')), '<', 2000, 'a name that GitLab would not take is left out');
refused($httpd->get('/x', token => fresh()), 401, 'type', 'the statement is no token here');

# -- no open redirect
for my $evil ('https://evil.test', '//', '//evil.test', '///evil.test', '/..//evil.test', '/a/https://evil.test', '/%5Cevil.test', '%5C%5Cevil.test', '/%09/evil.test', '/%0a/evil.test', '%2F%2Fevil.test', 'evil.test', "/a%0d%0aX-Evil:%201",
    'javascript:1', '@evil.test', 'dana@evil.test', 'https://127.0.0.1@evil.test', '%E2%81%84%E2%81%84evil.test', '/%EF%BC%8Fevil.test', '/%E2%88%95evil.test', '%20//evil.test', '%00//evil.test', 'data:text/html,x') {
    for my $name (qw(origin return_to redirect_uri url)) {
        my $answer = $httpd->get("/-/gate/login?$name=$evil", token => $token, headers => [ Host => 'evil.test', Referer => 'https://evil.test/' ]);
        ok($answer->status == 302 && $answer->header('Location') =~ m{^/users/auth/jwt/callback\?jwt=[\w.-]+$} && !$answer->header('X-Evil'), "$name=$evil leads nowhere else") or diag($answer->as_string);
    }
}
for my $path ('/@evil.test', '/%252F/evil.test', '/.evil.test', '/?//evil.test') {
    my $to = $httpd->get("/-/gate/login?origin=$path", token => $token)->header('Location') // '';
    like($to, qr{^/users/auth/jwt/callback\?jwt=[\w.-]+&origin=/[\w./~%-]*$}, "origin=$path is a path here: no character of it can end the parameter");
}
is(scalar(() = $httpd->get('/-/gate/login?origin=/a&origin=//evil.test', token => $token)->header('Location') =~ /origin/g), 0, 'two of them are none');
like($httpd->get('/-/gate/login?origin=/shop/orders%3Fa%3D1', token => $token)->header('Location'), qr{&origin=/shop/orders%3Fa%3D1$}, 'a path of this host is handed on');
finish();
