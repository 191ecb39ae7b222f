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
my $httpd = httpd(issuer_section('ci') . gated('/', 'Require valid-user'));
passes($httpd->get('/', token => mint(issuer => 'ci')), 'it serves');
my $stuck = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $httpd->port) or die;
print $stuck "GET / HTTP/1.1\r\nHost: x\r\nX-Gate-Test-Hold: 1\r\n\r\n";
sleep 0.5;
my $from = time;
$httpd->stop;
cmp_ok(time - $from, '<', 8, 'it stops');
unlike($httpd->error_log, qr/AH0004[56]/, 'and no child must be killed');
finish();
