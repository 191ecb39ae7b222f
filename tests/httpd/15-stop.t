# prefork ends its children from within a signal's handler, whatever they were doing: a child that was interrupted with a
# lock in its hands ends all the same, before httpd has to kill it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Time::HiRes qw(sleep time);

if (Gate::Httpd::mpm() ne 'prefork') {
    plan skip_all => 'with the prefork MPM only';
}
my $httpd = httpd(issuer_section('ci')
        . qq(<Directory "\@DIR\@/htdocs/hop">\n AuthType Gate\n AuthName x\n Require valid-user\n Options +FollowSymLinks\n RewriteEngine On\n RewriteRule ^in\$ /x/second\n</Directory>\n)
        . gated('/x/', 'Require valid-user'));
mkdir $httpd->dir . '/htdocs/hop';
$httpd->write_file('htdocs/hop/in', "x\n");
my $token = mint(issuer => 'ci');
passes($httpd->get('/hop/in', token => $token), 'it serves');
# The first holds it with nothing else; the second while it knows somebody already, whom its pool would give back.
my @stuck = map {
    my ($path, $at) = @$_;
    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $httpd->port) or die;
    print $socket "GET $path HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $token\r\nX-Gate-Test-Hold: $at\r\n\r\n";
    $socket;
} [ '/x/', '/x/' ], [ '/hop/in', '/x/second' ];
sleep 0.5;
my $from = time;
$httpd->stop;
cmp_ok(time - $from, '<', 8, 'it stops');
unlike($httpd->error_log, qr/AH0004[56]/, 'and no child must be killed');
finish();
