package Net::EasyTCP::Attach;

# attach() and detach() of Net::EasyTCP: what is to be known of each event loop stands in one table.

use 5.008009;
use strict;
use warnings;

use Net::EasyTCP ();
use Scalar::Util ();

our @CARP_NOT = ('Net::EasyTCP');    # errors are told of the line that called its methods

# Seconds between two looks where the system has no descriptor to watch.
my $TICK = 0.01;

# By name, in the order in which attach() looks for one that is loaded:
#
#   module   what must be loaded
#   classes  what an object of this loop is
#   start    returns that object when attach() was given the name only
#   watch    ($loop, $handle, $work): calls $work while $handle is readable
#   every    ($loop, $work): calls $work again and again
#
# The last two return a subroutine that ends it.
my @LOOPS = (
    Mojo => {
        module  => 'Mojo::IOLoop',
        classes => [ 'Mojo::IOLoop', 'Mojo::Reactor' ],
        start   => sub { Mojo::IOLoop->singleton },
        watch   => sub {
            my ($loop, $handle, $work) = @_;
            my $reactor = _reactor($loop);
            $reactor->io($handle, $work)->watch($handle, 1, 0);
            return sub { $reactor->remove($handle) };
        },
        every => sub {
            my ($loop, $work) = @_;
            my $reactor = _reactor($loop);
            my $id = $reactor->recurring($TICK, $work);
            return sub { $reactor->remove($id) };
        },
    },
    EV => {
        module  => 'EV',
        classes => ['EV::Loop'],
        start   => sub { EV::default_loop() },
        watch   => sub {
            my ($loop, $handle, $work) = @_;
            my $watcher = $loop->io($handle, EV::READ(), $work);
            return sub { undef $watcher };
        },
        every => sub {
            my ($loop, $work) = @_;
            my $watcher = $loop->timer($TICK, $TICK, $work);
            return sub { undef $watcher };
        },
    },
    'IO::Async' => {
        module  => 'IO::Async::Loop',
        classes => ['IO::Async::Loop'],
        start   => sub { IO::Async::Loop->new },
        watch   => sub {
            my ($loop, $handle, $work) = @_;
            require IO::Async::Handle;
            my $notifier = IO::Async::Handle->new(read_handle => $handle, on_read_ready => $work);
            $loop->add($notifier);
            return sub { $loop->remove($notifier) };
        },
        every => sub {
            my ($loop, $work) = @_;
            require IO::Async::Timer::Periodic;
            my $timer = IO::Async::Timer::Periodic->new(interval => $TICK, on_tick => $work);
            $timer->start;
            $loop->add($timer);
            return sub { $loop->remove($timer) };
        },
    },
    POE => {
        module  => 'POE::Kernel',
        classes => ['POE::Kernel'],
        start   => sub { POE::Kernel->import; $POE::Kernel::poe_kernel },    # which makes the kernel
        watch   => sub {
            my ($kernel, $handle, $work) = @_;
            return _poe_session($kernel, $work, sub { $kernel->select_read($handle, 'work') },
                sub { $kernel->select_read($handle) });
        },
        every => sub {
            my ($kernel, $work) = @_;
            my $again = sub { $kernel->delay(work => $TICK) };
            return _poe_session($kernel, sub { $again->(); $work->() }, $again,
                sub { $kernel->delay('work') });
        },
    },
    Tk => {
        module  => 'Tk',
        classes => ['Tk::Widget', 'MainWindow'],
        start   => sub { (Tk::MainWindow::Existing())[0] || die "there is no main window\n" },
        watch   => sub {
            my ($widget, $handle, $work) = @_;
            $widget->fileevent($handle, readable => $work);
            return sub { $widget->fileevent($handle, readable => '') };
        },
        every => sub {
            my ($widget, $work) = @_;
            my $timer = $widget->repeat(1000 * $TICK, $work);
            return sub { $timer->cancel };
        },
    },
    Glib => {
        module  => 'Glib',
        classes => [],
        start   => sub { undef },
        watch   => sub {
            my (undef, $handle, $work) = @_;
            my $id = Glib::IO->add_watch(fileno $handle, [ 'in', 'hup', 'err' ], _kept($work));
            return sub { $handle = undef; Glib::Source->remove($id) };
        },
        every => sub {
            my (undef, $work) = @_;
            my $id = Glib::Timeout->add(1000 * $TICK, _kept($work));
            return sub { Glib::Source->remove($id) };
        },
    },
    Event => {
        module  => 'Event',
        classes => [],
        start   => sub { Event->import; undef },    # without it, its clock has whole seconds
        watch   => sub {
            my (undef, $handle, $work) = @_;
            my $watcher = Event->io(fd => $handle, poll => 'r', cb => $work);
            return sub { $watcher->cancel };
        },
        every => sub {
            my (undef, $work) = @_;
            my $watcher = Event->timer(interval => $TICK, cb => $work);
            return sub { $watcher->cancel };
        },
    },
    AnyEvent => {
        module  => 'AnyEvent',
        classes => [],
        start   => sub { undef },
        watch   => sub {
            my (undef, $handle, $work) = @_;
            my $guard = AnyEvent->io(fh => $handle, poll => 'r', cb => $work);
            return sub { undef $guard };
        },
        every => sub {
            my (undef, $work) = @_;
            my $guard = AnyEvent->timer(after => $TICK, interval => $TICK, cb => $work);
            return sub { undef $guard };
        },
    },
);
my %LOOP  = @LOOPS;
my @ORDER = @LOOPS[ grep { $_ % 2 == 0 } 0 .. $#LOOPS ];

sub _reactor {
    my ($loop) = @_;
    return $loop->can('reactor') ? $loop->reactor : $loop;
}

# A session with an alias goes on while it waits for a descriptor; a loop without sessions ends.
sub _poe_session {
    my ($kernel, $work, $begin, $end) = @_;
    require POE::Session;
    my $alias   = "Net::EasyTCP::Attach $work";
    my $session = POE::Session->create(
        inline_states => {
            _start => sub { $kernel->alias_set($alias); $begin->() },
            work   => sub { $work->() },
            detach => sub { $end->(); $kernel->alias_remove($alias) },
        },
    );
    my $id = $session->ID;
    return sub { $kernel->call($id, 'detach') };
}

# Glib drops what died, with one line of warning, and the server would be deaf for good.
sub _kept {
    my ($work) = @_;
    return sub {
        local $@;
        eval { $work->(); 1 } or warn $@;
        return 1;
    };
}

# The row of the table and the object to hand to it; nothing, and $@, if there is none.
sub _find_loop {
    my ($loop) = @_;
    if (!defined $loop) {
        for my $name (@ORDER) {
            (my $file = "$LOOP{$name}{module}.pm") =~ s{::}{/}g;
            return ($LOOP{$name}, undef) if $INC{$file};
        }
        return _nothing('No event loop is loaded');
    }
    if (Scalar::Util::blessed($loop)) {
        for my $name (@ORDER) {
            return ($LOOP{$name}, $loop) if grep { $loop->isa($_) } @{ $LOOP{$name}{classes} };
        }
    }
    my $row = $LOOP{$loop} or return _nothing("Unknown event loop $loop");
    return ($row, undef);
}

sub _nothing {
    $@ = shift;
    return;
}

sub _load {
    my ($row) = @_;
    (my $file = "$row->{module}.pm") =~ s{::}{/}g;
    local $@;
    my $loop;
    return ($loop, '') if eval { require $file; $loop = $row->{start}->(); 1 };
    my $why = $@;
    $why =~ s/\s+\z//;
    return (undef, $why);
}

sub attach {
    my $object  = $_[0];    # before the second is read, which may run code
    my $wanted  = $_[1];
    my $self    = Net::EasyTCP::_loop($object) or return Net::EasyTCP::_failed($object);
    my $present = Net::EasyTCP::_attachment($self, 'attach');
    return Net::EasyTCP::_failed($object) if !defined $present;
    return Net::EasyTCP::_failed($object, 'Already attached') if $present;
    my ($row, $loop) = _find_loop($wanted) or return Net::EasyTCP::_failed($object);
    if (!$loop) {
        ($loop, my $why) = _load($row);
        return Net::EasyTCP::_failed($object, "$row->{module} cannot be loaded: $why") if $why ne '';
    }
    # Only the object itself keeps itself alive; dropping it ends everything.
    Scalar::Util::weaken(my $weak = $self);
    my $work   = sub { Net::EasyTCP::process($weak) if $weak };
    my $handle = Net::EasyTCP::pollhandle($self);
    my $end    = $handle ? $row->{watch}->($loop, $handle, $work) : $row->{every}->($loop, $work);
    my $watch  = bless { end => $end, loop => $loop }, 'Net::EasyTCP::Attach::Watch';
    Net::EasyTCP::_attachment($self, 'attach', $watch);
    return 1;
}

sub detach {
    my ($object) = @_;
    my $self    = Net::EasyTCP::_loop($object) or return Net::EasyTCP::_failed($object);
    my $present = Net::EasyTCP::_attachment($self, 'detach');
    return Net::EasyTCP::_failed($object) if !defined $present;
    return Net::EasyTCP::_failed($object, 'Not attached') if !$present;
    Net::EasyTCP::_attachment($self, 'detach', undef);
    return 1;
}

package Net::EasyTCP::Attach::Watch;

sub DESTROY {
    my ($self) = @_;
    return if ${^GLOBAL_PHASE} && ${^GLOBAL_PHASE} eq 'DESTRUCT';
    local ($@, $!, $?);
    eval { $self->{end}->(); 1 } or warn $@;
    return;
}

1;
