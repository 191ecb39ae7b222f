# An upstream by HTTP/2 (mod_proxy_http2): it gets no credential, and sends trailers on.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Time::HiRes qw(sleep);

plan skip_all => 'mod_http2 does not work with prefork' if Gate::Httpd::mpm() eq 'prefork';
my @TRAILERS = qw(X-Forwarded-User X_Gate_Job Sudo PRIVATE-TOKEN Gitlab-Workhorse-Api-Request X-Other);
my $behind = httpd('Protocols h2c http/1.1' . "\nLogFormat \"%U " . join(' ', map { "$_=%{$_}^ti" } @TRAILERS) . "\" trailers\nCustomLog trailers.log trailers\nProxyPass / " . upstream_base() . "/ nocanon\n",
    modules => ['http2'], without_gate => 1);
my $to = 'h2c://127.0.0.1:' . $behind->port;
my $token = $behind->write_file('gitlab.token', "glpat-behind-h2\n");
chmod 0644, $token;
my $httpd = httpd(issuer_section('a')
        . "<Location /api/>\n AuthType Gate\n AuthName x\n Require valid-user\n GateUpstreamToken file:$token\n GateSudo on\n ProxyPass $to/api/\n</Location>\n"
        . "<Location /open/>\n ProxyPass $to/open/\n</Location>\n"
        . "<Location /shut/>\n AuthType Gate\n AuthName x\n Require valid-user\n ErrorDocument 401 /open/why\n ProxyPass $to/shut/\n</Location>\n"
        . "<Location /gated/>\n AuthType Gate\n AuthName x\n Require valid-user\n ProxyPass $to/gated/\n</Location>\n",
    modules => [qw(http2 proxy_http2)]);
my $jwt = mint(issuer => 'a');

# In pieces that come one by one.
sub drip {
    my ($path, $fields, $trailers, @pieces) = @_;
    my $socket = Gate::Client::connect_to($httpd->port);
    print {$socket} "POST $path HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n$fields\r\n";
    for (@pieces) {
        sleep 0.3;
        printf {$socket} "%x\r\n%s\r\n", length $_, $_;
    }
    sleep 0.3;
    print {$socket} "0\r\n$trailers\r\n";
    return Gate::Client::read_answer($socket, 'POST');
}

my $person = "Authorization: Bearer $jwt\r\n";
expect_in_log(qr{credential_path});
my $refused = drip('/api/v4/x', $person, '', 'a=1');
refused($refused, 403, 'credential_path', 'no credential goes to an upstream by HTTP/2');
is($refused->upstream_saw, undef, '... which is not asked');

my $trailers = join '', map { "$_: root\r\n" } @TRAILERS;
passes(drip('/gated/t', $person, $trailers, 'hello'), 'a body with trailers');
passes(drip('/open/t', '', $trailers, 'hello'), '... where nobody is asked');
is(drip('/shut/t', '', $trailers, 'hello')->header('X-Gate-Reason'), 'token_missing', '... and where the answer is a document of the upstream');
sleep 0.5;
my $seen = Gate::Httpd::slurp($behind->dir . '/trailers.log');
like($seen, qr{^/gated/t(?: [\w-]+=-){6}$}m, 'in a gated place no trailer goes on');
like($seen, qr{^/open/t X-Forwarded-User=- X_Gate_Job=- Sudo=root PRIVATE-TOKEN=root Gitlab-Workhorse-Api-Request=- X-Other=root$}m, 'elsewhere what is no identity does');
like($seen, qr{^/open/why X-Forwarded-User=- X_Gate_Job=- \S+ \S+ Gitlab-Workhorse-Api-Request=-}m, 'nor to the document');
finish();
